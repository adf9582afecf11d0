/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The stand-in kernel's sbufs.  See kern_vfs.h.
 */
#define	KERN_IMPLEMENTATION
#include <stdarg.h>

#include "kern_impl.h"

static struct malloc_type M_SBUF[1] = { { "sbuf" } };

struct sbuf *
sbuf_new(struct sbuf *s, char *buf, int room, int flags)
{
	KASSERT(buf == NULL && flags == SBUF_FIXEDLEN, ("sbuf_new"));
	memset(s, 0, sizeof(*s));
	s->buf = kern_malloc((size_t)room, M_SBUF, M_WAITOK);
	s->room = (size_t)room;
	return (s);
}

/* The real one hands what is full to the request; this one has the room. */
struct sbuf *
sbuf_new_for_sysctl(struct sbuf *s, char *buf, int room, struct sysctl_req *req)
{
	KASSERT(room > 0, ("no room"));
	sbuf_new(s, buf, 16 * 1024, SBUF_FIXEDLEN);
	s->req = req;
	return (s);
}

int
sysctl_wire_old_buffer(struct sysctl_req *req, size_t len)
{
	(void)req;
	(void)len;
	may_sleep("sysctl_wire_old_buffer");
	return (failing("sysctl_wire_old_buffer"));
}

int
sbuf_printf(struct sbuf *s, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(s->buf + s->len, s->room - s->len, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= s->room - s->len)
		s->full = 1;
	else
		s->len += (size_t)n;
	return (s->full ? -1 : 0);
}

int
sbuf_cat(struct sbuf *s, const char *text)
{
	return (sbuf_printf(s, "%s", text));
}

void
devctl_safe_quote_sb(struct sbuf *s, const char *text)
{
	for (; *text != '\0'; text++)
		sbuf_printf(s, "%s%c", *text == '"' || *text == '\\' ? "\\" :
		    "", *text);
}

int
sbuf_finish(struct sbuf *s)
{
	may_sleep("sbuf_finish");
	if (s->full)
		return (ENOMEM);
	s->buf[s->len] = '\0';
	if (s->req != NULL && s->req->old != NULL)
		snprintf(s->req->old, s->req->old_len, "%s", s->buf);
	return (0);
}

char *
sbuf_data(struct sbuf *s)
{
	return (s->buf);
}

void
sbuf_delete(struct sbuf *s)
{
	kern_free(s->buf, M_SBUF);
	s->buf = NULL;
}
