/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * For the compile check only: the few declarations of the VMBus channel
 * interface that the driver uses, with the source tree's types.
 */
#ifndef _STANDIN_VMBUS_H_
#define	_STANDIN_VMBUS_H_

#include <sys/param.h>
#include <sys/bus.h>

#define	VMBUS_CHANPKT_TYPE_INBAND	0x0006

struct vmbus_channel;
typedef void (*vmbus_chan_callback_t)(struct vmbus_channel *, void *);

static __inline struct vmbus_channel *
vmbus_get_channel(device_t dev)
{
	return (device_get_ivars(dev));
}

int	vmbus_chan_open(struct vmbus_channel *, int, int, const void *, int,
	    vmbus_chan_callback_t, void *);
void	vmbus_chan_close(struct vmbus_channel *);
void	vmbus_chan_set_readbatch(struct vmbus_channel *, bool);
int	vmbus_chan_recv(struct vmbus_channel *, void *, int *, uint64_t *);
int	vmbus_chan_send(struct vmbus_channel *, uint16_t, uint16_t, void *,
	    int, uint64_t);

#endif /* !_STANDIN_VMBUS_H_ */
