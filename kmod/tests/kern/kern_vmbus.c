/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The stand-in kernel's VMBus channel, whose host is the test.  See kern.h.
 */
#define	KERN_IMPLEMENTATION
#include "kern_impl.h"

struct vmbus_channel { vmbus_chan_callback_t cb; void *arg; int open,
    batch_off; };
struct packet { size_t len; uint64_t xactid; uint8_t data[1024]; };

static struct vmbus_channel channel;
static struct packet to_guest[32], to_host[256];
static unsigned to_guest_n, to_host_n, to_host_read;
static uint64_t last_xactid;

void
kern_vmbus_reset(void)
{
	KASSERT(!channel.open, ("the channel is still open"));
	memset(&channel, 0, sizeof(channel));
	to_guest_n = to_host_n = to_host_read = 0;
}

int
VMBUS_PROBE_GUID(device_t on, device_t dev, const struct hyperv_guid *guid)
{
	static const uint8_t vss[] = { 0x29, 0x2e, 0xfa, 0x35, 0x23, 0xea,
	    0x36, 0x42, 0x96, 0xae, 0x3a, 0x6e, 0xba, 0xcb, 0xa4, 0x40 };

	(void)dev;
	KASSERT(kern_is_bus(on), ("the parent is asked"));
	if (failing("probe_guid") != 0)
		return (ENXIO);
	return (memcmp(guid->hv_guid, vss, 16) == 0 ? 0 : ENXIO);
}

struct vmbus_channel *
vmbus_get_channel(device_t dev)
{
	KASSERT(kern_is_child(dev), ("whose channel?"));
	return (&channel);
}

void
vmbus_chan_set_readbatch(struct vmbus_channel *ch, bool on)
{
	KASSERT(!ch->open && !on, ("read batching goes off before opening"));
	ch->batch_off = 1;
}

int
vmbus_chan_open(struct vmbus_channel *ch, int tx, int rx, const void *udata,
    int udlen, vmbus_chan_callback_t cb, void *arg)
{
	int error = failing("vmbus_chan_open");

	(void)udata;
	(void)udlen;
	may_sleep("vmbus_chan_open");
	KASSERT(ch->batch_off && tx == 4 * PAGE_SIZE && rx == 4 * PAGE_SIZE,
	    ("the channel's rings"));
	if (error != 0)
		return (error);
	ch->open = 1;
	ch->cb = cb;
	ch->arg = arg;
	if (to_guest_n != 0)	/* a host that spoke before we listened */
		cb(ch, arg);
	return (0);
}

void
vmbus_chan_close(struct vmbus_channel *ch)
{
	may_sleep("vmbus_chan_close");
	KASSERT(ch->open, ("closed a channel that is not open"));
	ch->open = 0;
}

int
vmbus_chan_recv(struct vmbus_channel *ch, void *p, int *len, uint64_t *xactid)
{
	int error = failing("vmbus_chan_recv");

	KASSERT(ch->open, ("received from a closed channel"));
	if (error != 0)
		return (error);
	if (to_guest_n == 0)
		return (EAGAIN);
	if ((size_t)*len < to_guest[0].len)
		return (ENOBUFS);
	memcpy(p, to_guest[0].data, to_guest[0].len);
	*len = (int)to_guest[0].len;
	*xactid = to_guest[0].xactid;
	memmove(&to_guest[0], &to_guest[1], --to_guest_n * sizeof(to_guest[0]));
	return (0);
}

int
vmbus_chan_send(struct vmbus_channel *ch, uint16_t type, uint16_t flags,
    void *p, int len, uint64_t xactid)
{
	struct packet *a = &to_host[to_host_n];
	int error = failing("vmbus_chan_send");

	KASSERT(ch->open, ("sent to a closed channel"));
	KASSERT(type == VMBUS_CHANPKT_TYPE_INBAND && flags == 0, ("packet"));
	if (error != 0)
		return (error);
	KASSERT(to_host_n < nitems(to_host), ("too many answers"));
	KASSERT(xactid >= 1 && xactid <= last_xactid, ("foreign xactid"));
	to_host_n++;
	memcpy(a->data, p, (size_t)len);
	a->len = (size_t)len;
	return (0);
}

void
kern_host_sends(const void *p, size_t len)
{
	struct packet *a = &to_guest[to_guest_n++];

	memcpy(a->data, p, len);
	a->len = len;
	a->xactid = ++last_xactid;
	if (channel.open)
		channel.cb(&channel, channel.arg);
}

size_t
kern_host_gets(void *p, size_t room)
{
	struct packet *a;

	if (to_host_read == to_host_n)
		return (0);
	a = &to_host[to_host_read++];
	memcpy(p, a->data, a->len < room ? a->len : room);
	return (a->len);
}
