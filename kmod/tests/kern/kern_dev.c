/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The stand-in kernel's devices: one bus child, nodes with open files, and a
 * VMBus channel whose host is the test.  See kern.h.
 */
#define	KERN_IMPLEMENTATION
#include <stdarg.h>

#include "kern_impl.h"

struct device { char name[16]; driver_t *driver; void *softc; device_t parent;
    const char *desc; };
struct kern_file { struct kern_file *next; struct cdev *dev; int flags;
    void *priv; void (*dtor)(void *); };
struct vmbus_channel { vmbus_chan_callback_t cb; void *arg; int open,
    batch_off; };
struct packet { size_t len; uint64_t xactid; uint8_t data[1024]; };

static struct device bus = { .name = "bus0" }, child;
static int child_added;
static struct { const char *bus; driver_t *driver; } drivers[4];
static struct cdev *nodes[8];
static struct kern_file *files, *current;
static struct vmbus_channel channel;
static struct packet to_guest[32], to_host[64];
static unsigned to_guest_n, to_host_n, to_host_read;
static uint64_t last_xactid;
static struct { char name[32]; int value; } hints[4];
static char events[1024], console[4096];

void
kern_dev_reset(void)
{
	KASSERT(files == NULL, ("a file is still open"));
	for (size_t i = 0; i < nitems(nodes); i++)
		KASSERT(nodes[i] == NULL, ("a node is left"));
	KASSERT(!channel.open, ("the channel is still open"));
	memset(&channel, 0, sizeof(channel));
	memset(hints, 0, sizeof(hints));
	to_guest_n = to_host_n = to_host_read = 0;
	events[0] = console[0] = '\0';
	child_added = 0;
}

void
kern_driver(const char *name, driver_t *driver)
{
	for (size_t i = 0; i < nitems(drivers); i++)
		if (drivers[i].driver == NULL) {
			drivers[i].bus = name;
			drivers[i].driver = driver;
			return;
		}
}

static void *
method(const char *name)
{
	device_method_t *m;

	for (m = child.driver->methods; m->name != NULL; m++)
		if (strcmp(m->name, name) == 0)
			return ((void *)m->fn);
	return (NULL);
}

static int
call(const char *name)
{
	int (*fn)(device_t) = (int (*)(device_t))method(name);

	may_sleep(name);
	return (fn(&child));
}

int
kern_probe(const char *on)
{
	void (*identify)(driver_t *, device_t);

	memset(&child, 0, sizeof(child));
	for (size_t i = 0; i < nitems(drivers); i++)
		if (drivers[i].bus != NULL && strcmp(drivers[i].bus, on) == 0)
			child.driver = drivers[i].driver;
	KASSERT(child.driver != NULL, ("no driver for %s", on));
	identify = (void (*)(driver_t *, device_t))method("device_identify");
	if (identify != NULL) {
		identify(child.driver, &bus);
		identify(child.driver, &bus);	/* as when loaded again */
		if (!child_added)
			return (ENOENT);
	}
	child.parent = &bus;
	snprintf(child.name, sizeof(child.name), "%s0", child.driver->name);
	return (call("device_probe"));
}

int
kern_attach(const char *on)
{
	int error = kern_probe(on);

	if (error > 0)
		return (error);
	child.softc = calloc(1, child.driver->size);
	error = call("device_attach");
	if (error != 0) {
		free(child.softc);
		child.softc = NULL;
	}
	return (error);
}

int
kern_quiesce(void)
{
	return (call("device_quiesce"));
}

int
kern_detach(void)
{
	int error = call("device_detach");

	free(child.softc);
	child.softc = NULL;
	return (error);
}

device_t
device_find_child(device_t dev, const char *name, int unit)
{
	(void)name;
	KASSERT(unit == -1, ("unit"));
	return (dev == &bus && child_added ? &child : NULL);
}

device_t
BUS_ADD_CHILD(device_t dev, u_int order, const char *name, int unit)
{
	(void)order;
	KASSERT(dev == &bus && !child_added && unit == -1, ("added twice"));
	KASSERT(strcmp(name, child.driver->name) == 0, ("child's name"));
	child_added = 1;
	return (&child);
}

void *
device_get_softc(device_t dev)
{
	return (dev->softc);
}

int
device_get_unit(device_t dev)
{
	(void)dev;
	return (0);
}

const char *
device_get_nameunit(device_t dev)
{
	return (dev->name);
}

device_t
device_get_parent(device_t dev)
{
	return (dev->parent);
}

struct sysctl_oid *
device_get_sysctl_tree(device_t dev)
{
	return ((struct sysctl_oid *)dev);
}

void
device_set_desc(device_t dev, const char *desc)
{
	dev->desc = desc;
}

int
device_printf(device_t dev, const char *fmt, ...)
{
	size_t used = strlen(console);
	va_list ap;

	(void)dev;
	va_start(ap, fmt);
	vsnprintf(console + used, sizeof(console) - used, fmt, ap);
	va_end(ap);
	return (0);
}

const char *
kern_console(void)
{
	static char copy[sizeof(console)];

	memcpy(copy, console, sizeof(copy));
	console[0] = '\0';
	return (copy);
}

void
kern_hint(const char *name, int value)
{
	for (size_t i = 0; i < nitems(hints); i++)
		if (hints[i].name[0] == '\0') {
			snprintf(hints[i].name, sizeof(hints[i].name), "%s",
			    name);
			hints[i].value = value;
			return;
		}
}

int
resource_int_value(const char *name, int unit, const char *res, int *value)
{
	char full[64];

	snprintf(full, sizeof(full), "%s.%d.%s", name, unit, res);
	for (size_t i = 0; i < nitems(hints); i++)
		if (strcmp(hints[i].name, full) == 0) {
			*value = hints[i].value;
			return (0);
		}
	return (ENOENT);
}

int
resource_disabled(const char *name, int unit)
{
	int value = 0;

	return (resource_int_value(name, unit, "disabled", &value) == 0 &&
	    value != 0);
}

void
devctl_notify(const char *system, const char *subsystem, const char *type,
    const char *data)
{
	size_t used = strlen(events);

	may_sleep("devctl_notify");
	snprintf(events + used, sizeof(events) - used, "%s %s %s %s\n", system,
	    subsystem, type, data);
}

const char *
kern_events(void)
{
	static char copy[sizeof(events)];

	memcpy(copy, events, sizeof(copy));
	events[0] = '\0';
	return (copy);
}

/*
 * Nodes and files.
 */
static struct cdev **
find_node(const char *name)
{
	for (size_t i = 0; i < nitems(nodes); i++)
		if (name == NULL ? nodes[i] == NULL : nodes[i] != NULL &&
		    strcmp(nodes[i]->name, name) == 0)
			return (&nodes[i]);
	return (NULL);
}

int
kern_mode(const char *name)
{
	struct cdev **n = find_node(name);

	return (n != NULL ? (*n)->mode : -1);
}

int
make_dev_s(struct make_dev_args *args, struct cdev **devp, const char *fmt, ...)
{
	struct cdev *dev;
	char name[32];
	va_list ap;
	int error;

	may_sleep("make_dev_s");
	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	*devp = NULL;
	if ((error = failing(name)) != 0)
		return (error);
	KASSERT(find_node(name) == NULL, ("%s made twice", name));
	KASSERT(args->mda_size == sizeof(*args), ("no make_dev_args_init"));
	KASSERT(args->mda_flags == (MAKEDEV_CHECKNAME | MAKEDEV_WAITOK),
	    ("make_dev_s flags"));
	KASSERT(args->mda_devsw->d_version == D_VERSION, ("d_version"));
	dev = calloc(1, sizeof(*dev));
	snprintf(dev->name, sizeof(dev->name), "%s", name);
	dev->sw = args->mda_devsw;
	dev->mode = args->mda_mode;
	dev->si_drv1 = args->mda_si_drv1;
	dev->si_drv2 = args->mda_si_drv2;
	*devp = *find_node(NULL) = dev;
	return (0);
}

static void
run_dtor(struct kern_file *f)
{
	void (*dtor)(void *) = f->dtor;

	may_sleep("a cdevpriv destructor");
	f->dtor = NULL;
	if (dtor != NULL)
		dtor(f->priv);
	f->priv = NULL;
}

void
destroy_dev(struct cdev *dev)
{
	may_sleep("destroy_dev");
	KASSERT(find_node(dev->name) != NULL, ("%s is gone", dev->name));
	others_run();
	*find_node(dev->name) = NULL;
	for (struct kern_file *f = files; f != NULL; f = f->next)
		if (f->dev == dev) {
			run_dtor(f);
			f->dev = NULL;
		}
	free(dev);
}

int
devfs_set_cdevpriv(void *priv, void (*dtor)(void *))
{
	int error = failing("devfs_set_cdevpriv");

	may_sleep("devfs_set_cdevpriv");
	KASSERT(current != NULL && current->dtor == NULL, ("cdevpriv twice"));
	if (error != 0)
		return (error);
	current->priv = priv;
	current->dtor = dtor;
	return (0);
}

int
devfs_get_cdevpriv(void **privp)
{
	KASSERT(current != NULL, ("cdevpriv outside of a file's call"));
	if (current->dtor == NULL)
		return (EBADF);
	*privp = current->priv;
	return (0);
}

struct kern_file *
kern_open(const char *name, int flags, int *error)
{
	struct cdev **n = find_node(name);
	struct kern_file *f = calloc(1, sizeof(*f));

	f->flags = flags;
	*error = ENXIO;
	if (n != NULL) {
		f->dev = *n;
		current = f;
		*error = f->dev->sw->d_open(f->dev, flags, 0, NULL);
		current = NULL;
	}
	if (*error != 0) {
		KASSERT(f->dtor == NULL, ("open failed and left its state"));
		free(f);
		return (NULL);
	}
	f->next = files;
	files = f;
	return (f);
}

void
kern_close(struct kern_file *f)
{
	struct kern_file **at;

	for (at = &files; *at != f; at = &(*at)->next)
		KASSERT(*at != NULL, ("closed twice"));
	*at = f->next;
	run_dtor(f);
	free(f);
}

/* As devfs does: a file whose node is gone gets ENXIO and POLLHUP. */
int
kern_ioctl(struct kern_file *f, u_long cmd, void *data)
{
	int error;

	if (f->dev == NULL)
		return (ENXIO);
	current = f;
	error = f->dev->sw->d_ioctl(f->dev, cmd, data, f->flags, NULL);
	current = NULL;
	KASSERT(kern_locks() == 0, ("ioctl left a mutex held"));
	return (error);
}

int
kern_poll(struct kern_file *f, int wanted)
{
	int revents;

	if (f->dev == NULL)
		return (POLLHUP);
	current = f;
	revents = f->dev->sw->d_poll(f->dev, wanted, NULL);
	current = NULL;
	KASSERT(kern_locks() == 0, ("poll left a mutex held"));
	return (revents);
}

int
kern_kevent(struct kern_file *f, struct knote *kn, int filter)
{
	int error;

	memset(kn, 0, sizeof(*kn));
	kn->kn_filter = filter;
	current = f;
	error = f->dev->sw->d_kqfilter(f->dev, kn);
	current = NULL;
	return (error);
}

int
uiomove(void *p, int len, struct uio *uio)
{
	may_sleep("uiomove");
	KASSERT(len >= 0 && (size_t)len <= uio->uio_resid, ("uiomove beyond"));
	if (uio->is_write)
		memcpy(p, uio->at, (size_t)len);
	else
		memcpy(uio->at, p, (size_t)len);
	uio->uio_resid -= (size_t)len;
	return (failing("uiomove"));
}

int
kern_read(struct kern_file *f, void *p, size_t room, size_t *len)
{
	struct uio uio = { room, p, 0 };
	int error;

	if (f->dev == NULL)
		return (ENXIO);
	current = f;
	error = f->dev->sw->d_read(f->dev, &uio, f->flags & O_NONBLOCK);
	current = NULL;
	*len = room - uio.uio_resid;
	return (error);
}

int
kern_write(struct kern_file *f, const void *p, size_t len)
{
	uint8_t copy[1024];
	struct uio uio = { len, copy, 1 };
	int error;

	memcpy(copy, p, len);
	current = f;
	error = f->dev->sw->d_write(f->dev, &uio, f->flags & O_NONBLOCK);
	current = NULL;
	return (error);
}

/*
 * The VMBus channel and the host behind it.
 */
int
VMBUS_PROBE_GUID(device_t on, device_t dev, const struct hyperv_guid *guid)
{
	static const uint8_t vss[] = { 0x29, 0x2e, 0xfa, 0x35, 0x23, 0xea,
	    0x36, 0x42, 0x96, 0xae, 0x3a, 0x6e, 0xba, 0xcb, 0xa4, 0x40 };

	(void)dev;
	KASSERT(on == &bus, ("the parent is asked"));
	if (failing("probe_guid") != 0)
		return (ENXIO);
	return (memcmp(guid->hv_guid, vss, 16) == 0 ? 0 : ENXIO);
}

struct vmbus_channel *
vmbus_get_channel(device_t dev)
{
	KASSERT(dev == &child, ("whose channel?"));
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
