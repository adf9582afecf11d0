/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * For the compile check only: what makeobjops.awk makes of vmbus_if.m, as far
 * as the driver calls it.
 */
struct hyperv_guid;
int	VMBUS_PROBE_GUID(device_t, device_t, const struct hyperv_guid *);
