/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The stand-in kernel's bus: drivers, one child device, hints, the console and
 * devctl's events.  See kern.h.
 */
#define	KERN_IMPLEMENTATION
#include <stdarg.h>

#include "kern_impl.h"

struct device { char name[16]; driver_t *driver; void *softc; device_t parent;
    const char *desc; };

static struct device bus = { .name = "bus0" }, child;
static int child_added;
static struct { const char *bus; driver_t *driver; } drivers[4];
static struct { char name[32]; int value; } hints[4];
static char events[2048], console[16384];

void
kern_bus_reset(void)
{
	memset(hints, 0, sizeof(hints));
	events[0] = console[0] = '\0';
	child_added = 0;
}

int
kern_is_bus(device_t dev)
{
	return (dev == &bus);
}

int
kern_is_child(device_t dev)
{
	return (dev == &child);
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
	KASSERT(!kern_holds_any(), ("devd is told while something is held"));
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
