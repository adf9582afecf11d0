/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * For the compile check only: the package has the installed copy of this
 * header, not the source tree's.
 */
#include <dev/hyperv/hyperv.h>
