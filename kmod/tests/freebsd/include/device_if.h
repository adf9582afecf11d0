/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * For the compile check only: the method descriptions that DEVMETHOD() names,
 * each with its method's true type, so that a wrong one does not compile.
 */
typedef void device_identify_t(driver_t *, device_t);
typedef int device_probe_t(device_t);
typedef int device_attach_t(device_t);
typedef int device_detach_t(device_t);
typedef int device_quiesce_t(device_t);

extern struct kobjop_desc device_identify_desc, device_probe_desc,
    device_attach_desc, device_detach_desc, device_quiesce_desc;
