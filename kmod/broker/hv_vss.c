/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The VMBus side of hv_vss_broker: finds Hyper-V's VSS channel, carries raw
 * messages from it to the request core and answers back.  It looks into no
 * message and knows no request; the nodes are vss_nodes.c's.
 *
 *	probed (outbids the in-base driver) -> nodes -> channel open
 *	    channel's callback: receive until the ring is empty
 *	detach: pending request answered -> answers off -> channel closed,
 *	        callback drained -> nodes
 *
 * Locking: the callback runs in the channel's own thread, which alone reads
 * the channel and uses the buffer; closing the channel waits for it.  Answers
 * are sent with the nodes' mutex, which also guards whether they still may be.
 */
#include <sys/param.h>
#include <dev/hyperv/include/hyperv.h>
#include <dev/hyperv/include/vmbus.h>

#include "hv_vss_var.h"
#include "vmbus_if.h"

#define	HV_VSS_BUFSIZE		(4 * PAGE_SIZE)	/* each ring, and ours */

struct hv_vss_softc {
	struct vss_softc	vss;			/* must come first */
	struct vmbus_channel	*chan;			/* (c) */
	uint8_t			*buf;			/* the callback's */
	bool			chan_open;		/* (m) of vss */
};

static const struct hyperv_guid hv_vss_guid = { .hv_guid = {
	0x29, 0x2e, 0xfa, 0x35, 0x23, 0xea, 0x36, 0x42,
	0x96, 0xae, 0x3a, 0x6e, 0xba, 0xcb, 0xa4, 0x40 } };

static int
hv_vss_send(void *arg, uint64_t xactid, uint8_t *msg, size_t len)
{
	struct hv_vss_softc *sc = arg;
	int error;

	mtx_assert(&sc->vss.mtx, MA_OWNED);
	if (!sc->chan_open)
		return (ENOTCONN);
	error = vmbus_chan_send(sc->chan, VMBUS_CHANPKT_TYPE_INBAND, 0, msg,
	    (int)len, xactid);
	if (error != 0 && vss_may_print(&sc->vss, VSS_LOG_ERR))
		device_printf(sc->vss.dev, "an answer did not reach the host: "
		    "error %d\n", error);
	return (error);
}

static void
hv_vss_callback(struct vmbus_channel *chan, void *arg)
{
	struct hv_vss_softc *sc = arg;
	uint64_t xactid;
	int error, len;

	for (;;) {
		len = HV_VSS_BUFSIZE;
		error = vmbus_chan_recv(chan, sc->buf, &len, &xactid);
		if (error != 0)
			break;
		vss_host_msg(&sc->vss, sc->buf, (size_t)len, xactid);
	}
	/* A packet can't be larger than its ring, which our buffer equals. */
	if (error == EAGAIN)
		return;
	mtx_lock(&sc->vss.mtx);
	if (vss_may_print(&sc->vss, VSS_LOG_ERR))
		device_printf(sc->vss.dev, "reading the channel failed: "
		    "error %d\n", error);
	mtx_unlock(&sc->vss.mtx);
}

static int
hv_vss_probe(device_t dev)
{
	if (resource_disabled(VSS_DRIVER_NAME, 0))
		return (ENXIO);
	if (VMBUS_PROBE_GUID(device_get_parent(dev), dev, &hv_vss_guid) != 0)
		return (ENXIO);
	device_set_desc(dev, "Hyper-V VSS broker");
	/* Above the in-base driver's BUS_PROBE_DEFAULT. */
	return (BUS_PROBE_VENDOR);
}

static int
hv_vss_attach(device_t dev)
{
	struct hv_vss_softc *sc = device_get_softc(dev);
	int error;

	error = vss_attach(&sc->vss, dev, hv_vss_send);
	if (error != 0)
		return (error);
	sc->chan = vmbus_get_channel(dev);
	sc->buf = malloc(HV_VSS_BUFSIZE, M_HVVSS, M_WAITOK | M_ZERO);

	/* Before the host can speak: its first message may come at once. */
	sc->chan_open = true;
	vmbus_chan_set_readbatch(sc->chan, false);
	error = vmbus_chan_open(sc->chan, HV_VSS_BUFSIZE, HV_VSS_BUFSIZE, NULL,
	    0, hv_vss_callback, sc);
	if (error != 0) {
		device_printf(dev, "can't open the channel: error %d\n",
		    error);
		vss_detach(&sc->vss);
		free(sc->buf, M_HVVSS);
		return (error);
	}
	return (0);
}

static int
hv_vss_detach(device_t dev)
{
	struct hv_vss_softc *sc = device_get_softc(dev);

	/*
	 * The host hears of what is pending while it still can.  From then on
	 * its messages are dropped, and nothing has to be answered.
	 */
	mtx_lock(&sc->vss.mtx);
	vss_core_detach(&sc->vss.core);
	sc->chan_open = false;
	mtx_unlock(&sc->vss.mtx);
	vmbus_chan_close(sc->chan);
	vss_detach(&sc->vss);
	free(sc->buf, M_HVVSS);
	return (0);
}

static device_method_t hv_vss_methods[] = {
	DEVMETHOD(device_probe, hv_vss_probe),
	DEVMETHOD(device_attach, hv_vss_attach),
	DEVMETHOD(device_detach, hv_vss_detach),
	DEVMETHOD(device_quiesce, vss_quiesce),
	DEVMETHOD_END
};

static driver_t hv_vss_driver = {
	VSS_DRIVER_NAME,
	hv_vss_methods,
	sizeof(struct hv_vss_softc)
};

DRIVER_MODULE(hv_vss_broker, vmbus, hv_vss_driver, NULL, NULL);
MODULE_VERSION(hv_vss_broker, 1);
MODULE_DEPEND(hv_vss_broker, vmbus, 1, 1, 1);
