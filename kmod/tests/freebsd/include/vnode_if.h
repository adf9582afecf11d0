/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * For the compile check: sys/vnode.h includes this generated header, of which
 * no module here uses anything.
 */
