/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The stand-in kernel's sysctls and tunables.  See kern.h.
 */
#define	KERN_IMPLEMENTATION
#include "kern_impl.h"

static struct { char name[32]; struct sysctl_ctx_list *ctx;
    kern_sysctl_t *handler; void *arg1; intmax_t arg2; int *value; } oids[32];
static struct { char name[32]; int *value; } tunables[4];
static struct { char name[32]; kern_sysctl_t *handler; void *arg1; } fixed[8];

void
kern_sysctl_reset(void)
{
	for (size_t i = 0; i < nitems(oids); i++)
		KASSERT(oids[i].ctx == NULL, ("%s is left", oids[i].name));
}

int
sysctl_ctx_init(struct sysctl_ctx_list *ctx)
{
	ctx->alive = 1;
	return (0);
}

int
sysctl_ctx_free(struct sysctl_ctx_list *ctx)
{
	KASSERT(ctx->alive, ("freed a sysctl context twice"));
	may_sleep("sysctl_ctx_free");
	ctx->alive = 0;
	for (size_t i = 0; i < nitems(oids); i++)
		if (oids[i].ctx == ctx)
			memset(&oids[i], 0, sizeof(oids[i]));
	return (0);
}

struct sysctl_oid *
SYSCTL_ADD_PROC(struct sysctl_ctx_list *ctx, struct sysctl_oid_list *parent,
    int nbr, const char *name, int access, void *arg1, intmax_t arg2,
    kern_sysctl_t *handler, const char *fmt, const char *descr)
{
	size_t i;

	(void)nbr;
	(void)fmt;
	may_sleep("adding a sysctl");
	KASSERT(ctx->alive && parent != NULL && descr != NULL, ("bad sysctl"));
	KASSERT((access & CTLFLAG_MPSAFE) != 0, ("a sysctl under Giant"));
	for (i = 0; i < nitems(oids) && oids[i].ctx != NULL; i++)
		KASSERT(strcmp(oids[i].name, name) != 0, ("%s twice", name));
	KASSERT(i < nitems(oids), ("too many sysctls"));
	oids[i].ctx = ctx;
	snprintf(oids[i].name, sizeof(oids[i].name), "%s", name);
	oids[i].handler = handler;
	oids[i].arg1 = arg1;
	oids[i].arg2 = arg2;
	return (NULL);
}

struct sysctl_oid *
SYSCTL_ADD_INT(struct sysctl_ctx_list *ctx, struct sysctl_oid_list *parent,
    int nbr, const char *name, int access, int *p, int val, const char *descr)
{
	(void)val;
	SYSCTL_ADD_PROC(ctx, parent, nbr, name, access | CTLFLAG_MPSAFE, p, 0,
	    (kern_sysctl_t *)sysctl_handle_int, "I", descr);
	return (NULL);
}

static int
sysctl_copy(struct sysctl_req *req, void *p, size_t len)
{
	may_sleep("a sysctl's copy to user space");
	if (req->old != NULL)
		memcpy(req->old, p, len < req->old_len ? len : req->old_len);
	if (req->newptr != NULL)
		memcpy(p, req->newptr, len);
	return (0);
}

int
sysctl_handle_string(struct sysctl_oid *oid, char *p, size_t len,
    struct sysctl_req *req)
{
	(void)oid;
	return (sysctl_copy(req, p, len));
}

int
sysctl_handle_int(struct sysctl_oid *oid, void *p, intmax_t arg2,
    struct sysctl_req *req)
{
	(void)oid;
	(void)arg2;
	return (sysctl_copy(req, p, sizeof(int)));
}

int
kern_handle_u64(struct sysctl_oid *oid, void *p, intmax_t arg2,
    struct sysctl_req *req)
{
	(void)oid;
	(void)arg2;
	return (sysctl_copy(req, p, sizeof(uint64_t)));
}

struct sysctl_oid *
SYSCTL_ADD_U64(struct sysctl_ctx_list *ctx, struct sysctl_oid_list *parent,
    int nbr, const char *name, int access, uint64_t *p, uint64_t val,
    const char *descr)
{
	(void)val;
	SYSCTL_ADD_PROC(ctx, parent, nbr, name, access | CTLFLAG_MPSAFE, p, 0,
	    kern_handle_u64, "QU", descr);
	return (NULL);
}

static int
sysctl_do(const char *name, struct sysctl_req *req)
{
	for (size_t i = 0; i < nitems(oids); i++)
		if (oids[i].ctx != NULL && strcmp(oids[i].name, name) == 0)
			return (oids[i].handler(NULL, oids[i].arg1,
			    oids[i].arg2, req));
	for (size_t i = 0; i < nitems(fixed); i++)
		if (strcmp(fixed[i].name, name) == 0)
			return (fixed[i].handler(NULL, fixed[i].arg1, 0, req));
	return (ENOENT);
}

void
kern_sysctl_fixed(const char *name, kern_sysctl_t *handler, void *arg1)
{
	for (size_t i = 0; i < nitems(fixed); i++)
		if (fixed[i].handler == NULL) {
			strlcpy(fixed[i].name, name, sizeof(fixed[i].name));
			fixed[i].handler = handler;
			fixed[i].arg1 = arg1;
			return;
		}
}

int
kern_sysctl_text(const char *name, char *text, size_t room)
{
	struct sysctl_req req = { text, room, NULL };

	return (sysctl_do(name, &req));
}

int64_t
kern_sysctl_number(const char *name)
{
	int64_t value = 0;
	struct sysctl_req req = { &value, sizeof(value), NULL };

	return (sysctl_do(name, &req) == 0 ? value : -1);
}

int
kern_sysctl_set(const char *name, unsigned value)
{
	struct sysctl_req req = { NULL, 0, &value };

	return (sysctl_do(name, &req));
}

void
kern_tunable(const char *name, int *value)
{
	for (size_t i = 0; i < nitems(tunables); i++)
		if (tunables[i].value == NULL) {
			snprintf(tunables[i].name, sizeof(tunables[i].name),
			    "%s", name);
			tunables[i].value = value;
			return;
		}
}

void
kern_set_tunable(const char *name, int value)
{
	for (size_t i = 0; i < nitems(tunables); i++)
		if (strcmp(tunables[i].name, name) == 0)
			*tunables[i].value = value;
}
