/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A host for machines without Hyper-V: /dev/hv_vss_testhost, through which a
 * program plays one.  Each write(2) is one raw message to the guest, each
 * read(2) one raw answer; poll(2) says when there is one.  The two nodes
 * behind it are the real ones.
 *
 * It is off until the tunable hw.hv_vss_broker.testhost is 1, and refuses to
 * attach beside a VMBus channel: a program that may write to this node can freeze
 * the machine's filesystems.
 *
 *	tunable -> identified on nexus0 -> nodes -> its own node
 *	detach: gone, sleepers woken -> its own node destroyed -> nodes
 *
 * Locking: the nodes' mutex guards the answers too; readers sleep on it.
 */
#include <sys/param.h>
#include <sys/fcntl.h>
#include <sys/uio.h>

#include "hv_utilreg.h"
#include "hv_vss_var.h"

#define	TESTHOST_DEV_NAME	"hv_vss_testhost"
#define	TESTHOST_MSG_MAX	512	/* bytes, either way */
#define	TESTHOST_ANSWERS	16	/* not yet read, or still to come */

struct testhost_answer {
	size_t	len;
	uint8_t	msg[TESTHOST_MSG_MAX];
};

struct testhost_softc {
	struct vss_softc	vss;			/* must come first */
	struct cdev		*dev;			/* (c) */
	struct selinfo		sel;			/* (m) of vss */
	struct testhost_answer	answers[TESTHOST_ANSWERS]; /* (m), a ring */
	u_int			first;			/* (m) */
	u_int			count;			/* (m) */
	u_int			owed;			/* (m) incl. count */
	uint64_t		xactid;			/* (m) last given */
	uint64_t		opened_at;		/* (m) xactid at open */
	bool			gone;			/* (m) */
};

static int testhost_enabled;
static SYSCTL_NODE(_hw, OID_AUTO, hv_vss_broker, CTLFLAG_RD | CTLFLAG_MPSAFE,
    NULL, "Hyper-V VSS broker");
SYSCTL_INT(_hw_hv_vss_broker, OID_AUTO, testhost, CTLFLAG_RDTUN,
    &testhost_enabled, 0, "1: let a program play the host");

/* Room was made sure of when the message was taken. */
static int
testhost_send(void *arg, uint64_t xactid, uint8_t *msg, size_t len)
{
	struct testhost_softc *sc = arg;
	struct testhost_answer *a;

	mtx_assert(&sc->vss.mtx, MA_OWNED);
	if (!sc->vss.host_open || xactid <= sc->opened_at)
		return (ENOTCONN);	/* the program that asked has closed */
	KASSERT(sc->count < sc->owed, ("an answer without a message"));
	a = &sc->answers[(sc->first + sc->count) % TESTHOST_ANSWERS];
	memcpy(a->msg, msg, len);
	a->len = len;
	sc->count++;
	wakeup(&sc->count);
	selwakeup(&sc->sel);
	return (0);
}

static void
testhost_close(void *arg)
{
	struct testhost_softc *sc = arg;

	mtx_lock(&sc->vss.mtx);
	sc->vss.host_open = false;
	mtx_unlock(&sc->vss.mtx);
}

static int
testhost_open(struct cdev *dev, int oflags __unused, int devtype __unused,
    struct thread *td __unused)
{
	struct testhost_softc *sc = dev->si_drv1;
	int error;

	mtx_lock(&sc->vss.mtx);
	error = sc->gone ? ENXIO : sc->vss.host_open ? EBUSY : 0;
	if (error == 0) {
		sc->vss.host_open = true;
		sc->opened_at = sc->xactid;
		sc->first = sc->count = sc->owed = 0;
	}
	mtx_unlock(&sc->vss.mtx);
	if (error == 0) {
		error = devfs_set_cdevpriv(sc, testhost_close);
		if (error != 0)
			testhost_close(sc);
	}
	return (error);
}

static int
testhost_write(struct cdev *dev, struct uio *uio, int ioflag __unused)
{
	struct testhost_softc *sc = dev->si_drv1;
	uint8_t msg[TESTHOST_MSG_MAX];
	uint64_t xactid;
	size_t len;
	int error;

	if (uio->uio_resid > TESTHOST_MSG_MAX)
		return (EMSGSIZE);
	len = (size_t)uio->uio_resid;
	error = uiomove(msg, (int)len, uio);
	if (error != 0)
		return (error);

	mtx_lock(&sc->vss.mtx);
	error = sc->gone ? ENXIO : sc->owed == TESTHOST_ANSWERS ? ENOBUFS : 0;
	if (error == 0 && len >= HV_IC_HDRSIZE)	/* else it gets no answer */
		sc->owed++;
	xactid = ++sc->xactid;
	mtx_unlock(&sc->vss.mtx);
	if (error == 0)
		vss_host_msg(&sc->vss, msg, len, xactid);
	return (error);
}

static int
testhost_read(struct cdev *dev, struct uio *uio, int ioflag)
{
	struct testhost_softc *sc = dev->si_drv1;
	struct testhost_answer a;
	int error;

	error = 0;
	mtx_lock(&sc->vss.mtx);
	while (sc->count == 0 && !sc->gone && error == 0)
		error = (ioflag & O_NONBLOCK) != 0 ? EWOULDBLOCK :
		    mtx_sleep(&sc->count, &sc->vss.mtx, PCATCH, "vsshost", 0);
	if (sc->gone)
		error = ENXIO;
	if (error == 0 &&
	    (size_t)uio->uio_resid < sc->answers[sc->first].len)
		error = EMSGSIZE;	/* it can be read with more room */
	if (error != 0) {
		mtx_unlock(&sc->vss.mtx);
		return (error);
	}
	a = sc->answers[sc->first];
	sc->first = (sc->first + 1) % TESTHOST_ANSWERS;
	sc->count--;
	sc->owed--;
	mtx_unlock(&sc->vss.mtx);
	return (uiomove(a.msg, (int)a.len, uio));
}

static int
testhost_poll(struct cdev *dev, int events, struct thread *td)
{
	struct testhost_softc *sc = dev->si_drv1;
	int revents;

	revents = events & (POLLOUT | POLLWRNORM);
	mtx_lock(&sc->vss.mtx);
	if (sc->count != 0 || sc->gone)
		revents |= events & (POLLIN | POLLRDNORM);
	else
		selrecord(td, &sc->sel);
	mtx_unlock(&sc->vss.mtx);
	return (revents);
}

static struct cdevsw testhost_cdevsw = {
	.d_version = D_VERSION,
	.d_name = TESTHOST_DEV_NAME,
	.d_open = testhost_open,
	.d_read = testhost_read,
	.d_write = testhost_write,
	.d_poll = testhost_poll,
};

static void
testhost_identify(driver_t *driver, device_t parent)
{
	if (testhost_enabled == 1 &&
	    device_find_child(parent, driver->name, -1) == NULL &&
	    BUS_ADD_CHILD(parent, 0, driver->name, -1) == NULL)
		device_printf(parent, "can't add the VSS test host\n");
}

static int
testhost_probe(device_t dev)
{
	if (testhost_enabled != 1)
		return (ENXIO);
	device_set_desc(dev, "VSS test host");
	return (BUS_PROBE_NOWILDCARD);
}

static int
testhost_detach(device_t dev)
{
	struct testhost_softc *sc = device_get_softc(dev);

	mtx_lock(&sc->vss.mtx);
	sc->gone = true;
	wakeup(&sc->count);
	selwakeup(&sc->sel);
	mtx_unlock(&sc->vss.mtx);
	destroy_dev(sc->dev);
	seldrain(&sc->sel);
	vss_detach(&sc->vss);
	return (0);
}

static int
testhost_attach(device_t dev)
{
	struct testhost_softc *sc = device_get_softc(dev);
	int error;

	error = vss_attach(&sc->vss, dev, testhost_send);
	if (error != 0)
		return (error);
	error = vss_make_node(&sc->vss, &sc->dev, &testhost_cdevsw, 0, 0600,
	    TESTHOST_DEV_NAME);
	if (error != 0)
		vss_detach(&sc->vss);
	return (error);
}

static device_method_t testhost_methods[] = {
	DEVMETHOD(device_identify, testhost_identify),
	DEVMETHOD(device_probe, testhost_probe),
	DEVMETHOD(device_attach, testhost_attach),
	DEVMETHOD(device_detach, testhost_detach),
	DEVMETHOD(device_quiesce, vss_quiesce),
	DEVMETHOD_END
};

static driver_t testhost_driver = {
	VSS_DRIVER_NAME,
	testhost_methods,
	sizeof(struct testhost_softc)
};

DRIVER_MODULE(hv_vss_broker, nexus, testhost_driver, NULL, NULL);
