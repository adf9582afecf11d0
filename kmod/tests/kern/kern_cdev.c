/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The stand-in kernel's nodes and the files that are open on them.  See kern.h.
 */
#define	KERN_IMPLEMENTATION
#include <stdarg.h>

#include "kern_impl.h"

struct kern_file { struct kern_file *next; struct cdev *dev; int flags;
    void *priv; void (*dtor)(void *); };

static struct cdev *nodes[8];
static struct kern_file *files, *current;

void
kern_cdev_reset(void)
{
	KASSERT(files == NULL, ("a file is still open"));
	for (size_t i = 0; i < nitems(nodes); i++)
		KASSERT(nodes[i] == NULL, ("a node is left"));
}

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
		*error = f->dev->sw->d_open(f->dev, flags, 0, curthread);
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
	error = f->dev->sw->d_ioctl(f->dev, cmd, data, f->flags,
	    curthread);
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
	revents = f->dev->sw->d_poll(f->dev, wanted, curthread);
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
