/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * For the compile check only: see vmbus_if.h.
 */
device_t	BUS_ADD_CHILD(device_t, u_int, const char *, int);
int		BUS_READ_IVAR(device_t, device_t, int, uintptr_t *);
int		BUS_WRITE_IVAR(device_t, device_t, int, uintptr_t);
