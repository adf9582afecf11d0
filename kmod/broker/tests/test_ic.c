/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Claims about raw messages: every length, every type and operation.  Each
 * message lies at the very end of a heap block of its own length, so that
 * the sanitizer sees the first byte read beyond it.
 */
#include "../hv_utilreg.h"
#include "../vss_ic.h"
#include "../../tests/check.h"
#include "ic.h"

static uint8_t *
exactly(const uint8_t *m, size_t len)
{
	uint8_t *copy = malloc(len != 0 ? len : 1);

	must(copy != NULL);
	memcpy(copy, m, len);
	return (copy);
}

static enum vss_ic_kind
kind_of(const uint8_t *m, size_t len)
{
	uint8_t *copy = exactly(m, len);
	enum vss_ic_kind kind = vss_ic_kind(copy, len);

	free(copy);
	return (kind);
}

static void
a_message_is_taken_only_at_the_length_its_type_needs(void)
{
	const struct {
		unsigned type, operation;
		size_t needs;
		enum vss_ic_kind kind;
	} rows[] = {
		{ 0, 0, 36, VSS_IC_NEGOTIATE },
		{ 5, IC_CHECK, 40, VSS_IC_CHECK },
		{ 5, IC_DM_INFO, 40, VSS_IC_DM_INFO },
		{ 5, IC_FREEZE, 36, VSS_IC_FREEZE },
		{ 5, IC_THAW, 36, VSS_IC_THAW },
		{ 5, IC_CREATE, 36, VSS_IC_NOTHING_TO_DO },
		{ 5, IC_DELETE, 36, VSS_IC_NOTHING_TO_DO },
		{ 5, IC_BU_COMPLETE, 36, VSS_IC_NOTHING_TO_DO },
		{ 5, IC_AUTO_RECOVER, 36, VSS_IC_NOTHING_TO_DO },
	};
	uint8_t m[64];

	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		ic_header(m, rows[r].type, sizeof(m));
		m[28] = (uint8_t)rows[r].operation;
		for (size_t len = 0; len <= sizeof(m); len++)
			must_equal(kind_of(m, len),
			    len < 28 ? VSS_IC_RUNT :
			    len < rows[r].needs ? VSS_IC_TRUNCATED :
			    rows[r].kind);
	}
}

static void
every_other_type_and_operation_is_unsupported(void)
{
	uint8_t m[64];

	for (unsigned type = 0; type <= 0xffff; type++) {
		ic_header(m, type, 40);
		m[28] = IC_FREEZE;
		must_equal(vss_ic_kind(m, 40), type == 0 ? VSS_IC_NEGOTIATE :
		    type == 5 ? VSS_IC_FREEZE : VSS_IC_UNSUPPORTED);
	}
	for (unsigned op = 0; op <= 0xff; op++) {
		ic_vss(m, op);
		must_equal(vss_ic_kind(m, 40) == VSS_IC_UNSUPPORTED,
		    op > IC_AUTO_RECOVER);
	}
}

static void
negotiation_takes_the_highest_version_not_above_ours_of_each_kind(void)
{
	const uint16_t offer[] = { 1, 0, 3, 0, 3, 1, 2, 9, /* framework */
	    4, 7, 6, 0, 5, 0, 5, 1, 1, 0 };		   /* message */
	uint8_t m[IC_ROOM];
	uint32_t fw = 0, mv = 0;
	size_t len = ic_negotiate(m, 4, 5, offer);

	must_equal(vss_ic_negotiate(m, len, &fw, &mv), HV_S_OK);
	must_equal(fw, VSS_VERSION(3, 0));
	must_equal(mv, VSS_VERSION(5, 0));
	must_equal(ic_get16(m + 28), 1);
	must_equal(ic_get16(m + 30), 1);
	must_equal(ic_get16(m + 36), 3);
	must_equal(ic_get16(m + 38), 0);
	must_equal(ic_get16(m + 40), 5);
	must_equal(ic_get16(m + 42), 0);
	must_equal(ic_get16(m + 18), 16);
}

static void
a_minor_version_never_outweighs_a_major_one(void)
{
	const uint16_t offer[] = { 2, 0xffff, 3, 0, 4, 0xffff, 5, 0 };
	uint8_t m[IC_ROOM];
	uint32_t fw = 0, mv = 0;
	size_t len = ic_negotiate(m, 2, 2, offer);

	must_equal(vss_ic_negotiate(m, len, &fw, &mv), HV_S_OK);
	must_equal(fw, VSS_VERSION(3, 0));
	must_equal(mv, VSS_VERSION(5, 0));
}

static void
an_offer_above_ours_is_not_supported_and_left_alone(void)
{
	const uint16_t above_fw[] = { 3, 1, 5, 0 };
	const uint16_t above_msg[] = { 3, 0, 6, 0 };
	uint8_t m[IC_ROOM], before[IC_ROOM];
	uint32_t fw = 1, mv = 2;
	size_t len = ic_negotiate(m, 1, 1, above_fw);

	memcpy(before, m, len);
	must_equal(vss_ic_negotiate(m, len, &fw, &mv), HV_ERROR_NOT_SUPPORTED);
	must(memcmp(before, m, len) == 0);
	len = ic_negotiate(m, 1, 1, above_msg);
	must_equal(vss_ic_negotiate(m, len, &fw, &mv), HV_ERROR_NOT_SUPPORTED);
	must(fw == 1 && mv == 2);
}

static void
counts_of_zero_and_counts_beyond_the_message_fail(void)
{
	const uint16_t offer[] = { 3, 0, 5, 0 };
	uint8_t m[IC_ROOM], *copy;
	uint32_t fw, mv;
	unsigned counts[] = { 0, 1, 2, 3, 0x3fff, 0x7fff, 0x8000, 0xffff };
	size_t n = sizeof(counts) / sizeof(counts[0]);

	for (size_t len = 28; len <= 52; len++)
		for (size_t i = 0; i < n; i++)
			for (size_t j = 0; j < n; j++) {
				ic_negotiate(m, 1, 1, offer);
				ic_put16(m + 28, counts[i]);
				ic_put16(m + 30, counts[j]);
				copy = exactly(m, len);
				uint32_t status = vss_ic_negotiate(copy, len,
				    &fw, &mv);
				free(copy);
				int fits = counts[i] != 0 && counts[j] != 0 &&
				    36 + 4 * (size_t)(counts[i] + counts[j]) <=
				    len;
				if (!fits)
					must_equal(status, HV_E_FAIL);
				else if (counts[i] == 1 && counts[j] == 1)
					must_equal(status, HV_S_OK);
			}
}

static void
an_answer_is_the_message_with_status_and_flags_and_nothing_else_changed(void)
{
	uint8_t m[64], before[64];

	ic_vss(m, IC_FREEZE);
	memcpy(before, m, sizeof(m));
	vss_ic_answer(m, HV_E_FAIL);
	must_equal(ic_status(m), 0x80004005);
	must_equal(m[25], 1 | 4);
	memcpy(m + 20, before + 20, 4);
	m[25] = before[25];
	must(memcmp(m, before, IC_VSS_LEN) == 0);
}

int
main(void)
{
	holds(a_message_is_taken_only_at_the_length_its_type_needs);
	holds(every_other_type_and_operation_is_unsupported);
	holds(negotiation_takes_the_highest_version_not_above_ours_of_each_kind);
	holds(a_minor_version_never_outweighs_a_major_one);
	holds(an_offer_above_ours_is_not_supported_and_left_alone);
	holds(counts_of_zero_and_counts_beyond_the_message_fail);
	holds(an_answer_is_the_message_with_status_and_flags_and_nothing_else_changed);
	return (check_result());
}
