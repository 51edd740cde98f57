// SPDX-License-Identifier: GPL-2.0
/*
 * Memory keys. A key with the addresses of pages (MTT) or one that lists other
 * keys (KLM) covers [start, start + len); a key for all of memory (PA) takes
 * addresses as they are. Whatever is not covered, or not with the right that is
 * asked for, is a fault.
 */
#include <linux/mm.h>

#include "mock.h"

/* What the device finds at a DMA address: there is no IOMMU (core.c sees to it) */
void *mem_dma(u64 addr)
{
	return pfn_valid(PHYS_PFN(addr)) ? phys_to_virt(addr) : NULL;
}

static struct fw_obj *mem_find(struct mock *m, u32 key)
{
	struct fw_obj *o = fw_find(m, FW_MKEY, mlx5_mkey_to_idx(key));

	return o && o->mkey.variant == (key & 0xff) ? o : NULL;
}

/* The list of a KLM key: keys that exist, and together at least its length */
static u8 mem_check_klm(struct mock *m, struct fw_obj *o)
{
	struct fw_mkey *k = &o->mkey;
	u64 sum = 0;
	u8 status;
	u32 i;

	for (i = 0; i < k->n; i++) {
		struct fw_obj *child;
		u32 key = be32_to_cpu(k->klm[i].key);

		child = mem_find(m, key);
		if (!child || (child->mkey.mode != FW_MKEY_NULL &&
			       child->mkey.pd != k->pd)) {
			fw_violation(m, "entry %u of %u of a KLM key is key %#x", i,
				     k->n, key);
			return MLX5_CMD_STAT_BAD_RES_ERR;
		}
		status = fw_use(m, o, FW_MKEY, child->id, NULL);
		if (status)
			return status;
		sum += be32_to_cpu(k->klm[i].bcount);
	}

	if (sum < k->len) {
		fw_violation(m, "KLM key of %#llx bytes lists %#llx", k->len, sum);
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	}

	return 0;
}

/* How many pages an MTT key has; what it has more of entries is padding */
static u64 mem_pages(const struct fw_mkey *k)
{
	return k->len ? ((k->start + k->len - 1) >> k->log_page) -
			(k->start >> k->log_page) + 1 : 0;
}

static u8 mem_check_mtt(struct mock *m, struct fw_mkey *k)
{
	u64 page = BIT_ULL(k->log_page), need = mem_pages(k);
	u32 i;

	if (k->log_page < MLX5_ADAPTER_PAGE_SHIFT || need > k->n) {
		fw_violation(m, "MTT key of %#llx bytes has %u pages of 2^%u",
			     k->len, k->n, k->log_page);
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	}

	for (i = 0; i < need; i++) {
		u64 addr = be64_to_cpu(k->mtt[i]);

		if (!IS_ALIGNED(addr, page)) {
			fw_violation(m, "MTT page %#llx is not aligned to 2^%u",
				     addr, k->log_page);
			return MLX5_CMD_STAT_BAD_PARAM_ERR;
		}
	}

	return 0;
}

/* Copy the entries; the command gives their number in units of 16 bytes */
static u8 mem_copy_entries(struct mock *m, struct fw_mkey *k, void *in,
			   int inlen, u32 octwords, u32 actual)
{
	void *from = MLX5_ADDR_OF(create_mkey_in, in, klm_pas_mtt);
	bool klm = k->mode == MLX5_MKC_ACCESS_MODE_KLMS;
	struct mlx5_core_dev *mdev = &m->mdev;

	if (actual > octwords ||
	    actual > (inlen - MLX5_ST_SZ_BYTES(create_mkey_in)) / 16) {
		fw_violation(m, "key of %u/%u octwords in a command of %d bytes",
			     actual, octwords, inlen);
		return MLX5_CMD_STAT_BAD_INP_LEN_ERR;
	}
	if (klm && actual > 1U << MLX5_CAP_GEN(mdev, log_max_klm_list_size)) {
		fw_violation(m, "KLM key with %u entries", actual);
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	}

	k->n = klm ? actual : actual * 2;
	k->mtt = kvmalloc(16 * actual, GFP_KERNEL);
	if (!k->mtt)
		return MLX5_CMD_STAT_LIM_ERR;
	memcpy(k->mtt, from, 16 * actual);

	return 0;
}

u8 mem_create_mkey(struct mock *m, void *in, int inlen, void *out)
{
	void *mkc = MLX5_ADDR_OF(create_mkey_in, in, memory_key_mkey_entry);
	struct fw_obj *o;
	struct fw_mkey *k;
	u8 status;

	status = fw_create(m, FW_MKEY, MLX5_GET(create_mkey_in, in, uid), &o);
	if (status)
		return status;

	k = &o->mkey;
	k->pd = MLX5_GET(mkc, mkc, pd);
	k->variant = MLX5_GET(mkc, mkc, mkey_7_0);
	k->mode = MLX5_GET(mkc, mkc, access_mode_1_0) |
		  MLX5_GET(mkc, mkc, access_mode_4_2) << 2;
	k->log_page = MLX5_GET(mkc, mkc, log_page_size);
	k->lr = MLX5_GET(mkc, mkc, lr);
	k->lw = MLX5_GET(mkc, mkc, lw);
	k->length64 = MLX5_GET(mkc, mkc, length64);
	k->start = MLX5_GET64(mkc, mkc, start_addr);
	k->len = MLX5_GET64(mkc, mkc, len);

	status = fw_use(m, o, FW_PD, k->pd, NULL);
	if (status)
		goto err_destroy;

	switch (k->mode) {
	case MLX5_MKC_ACCESS_MODE_PA:
		break;
	case MLX5_MKC_ACCESS_MODE_MTT:
	case MLX5_MKC_ACCESS_MODE_KLMS:
		status = mem_copy_entries(m, k, in, inlen,
					  MLX5_GET(mkc, mkc, translations_octword_size),
					  MLX5_GET(create_mkey_in, in,
						   translations_octword_actual_size));
		if (!status)
			status = k->mode == MLX5_MKC_ACCESS_MODE_MTT ?
				 mem_check_mtt(m, k) : mem_check_klm(m, o);
		break;
	default:
		fw_violation(m, "key with access mode %u", k->mode);
		status = MLX5_CMD_STAT_BAD_PARAM_ERR;
	}
	if (status)
		goto err_destroy;

	MLX5_SET(create_mkey_out, out, mkey_index, o->id);
	return 0;

err_destroy:
	fw_destroy(m, FW_MKEY, o->id, o->uid);
	return status;
}

/*
 * Whoever has a key made of a client's pages keeps them pinned for as long as
 * the key is there, as the device reaches them until then.
 */
static void mem_check_pins(struct mock *m, struct fw_mkey *k)
{
	u64 pfn, last, n = mem_pages(k);
	u32 i;

	for (i = 0; i < n; i++) {
		pfn = PHYS_PFN(be64_to_cpu(k->mtt[i]));
		last = pfn + (BIT_ULL(k->log_page) >> PAGE_SHIFT) - 1;
		for (; pfn <= last && pfn_valid(pfn); pfn++) {
			if (page_maybe_dma_pinned(pfn_to_page(pfn)))
				continue;
			fw_violation(m, "key of %#llx bytes outlives a pin of its page %#llx",
				     k->len, pfn);
			return;
		}
	}
}

u8 mem_destroy_mkey(struct mock *m, u32 id, u16 uid)
{
	struct fw_obj *o = fw_find(m, FW_MKEY, id);

	if (m->check_pins && o && o->mkey.mode == MLX5_MKC_ACCESS_MODE_MTT)
		mem_check_pins(m, &o->mkey);

	return fw_destroy(m, FW_MKEY, id, uid);
}

int mem_null_mkey(struct mock *m)
{
	struct fw_obj *o;
	u8 status = fw_create(m, FW_MKEY, 0, &o);

	if (status)
		return fw_errno(status);
	o->mkey.mode = FW_MKEY_NULL;
	o->stuck = true;	/* there from the start, and for good */
	m->alive[FW_MKEY]--;

	return o->id;
}

/* The DMA address of @addr, and how many bytes from there on belong together */
static int mem_translate(struct mock *m, u32 key, u32 pd, u64 addr, bool write,
			 u64 *dma, u64 *room)
{
	struct fw_obj *o = mem_find(m, key);
	struct fw_mkey *k;
	u64 off, bytes, i;
	int r;

	if (!o || o->mkey.mode == FW_MKEY_NULL)
		return -EFAULT;
	k = &o->mkey;
	if (k->pd != pd || !(write ? k->lw : k->lr))
		return -EACCES;

	off = addr - k->start;
	*room = ~0ULL;
	if (!k->length64) {
		if (addr < k->start || off >= k->len)
			return -EFAULT;
		*room = k->len - off;
	}

	switch (k->mode) {
	case MLX5_MKC_ACCESS_MODE_PA:
		*dma = addr;
		*room = min_t(u64, *room, PAGE_SIZE - offset_in_page(addr));
		return 0;

	case MLX5_MKC_ACCESS_MODE_MTT:
		bytes = BIT_ULL(k->log_page);
		i = (addr >> k->log_page) - (k->start >> k->log_page);
		*dma = (be64_to_cpu(k->mtt[i]) & ~(bytes - 1)) | (addr & (bytes - 1));
		*room = min(*room, bytes - (addr & (bytes - 1)));
		return 0;

	default:
		for (i = 0; i < k->n; i++) {
			bytes = be32_to_cpu(k->klm[i].bcount);
			if (off < bytes)
				break;
			off -= bytes;
		}
		if (i == k->n)
			return -EFAULT;
		bytes = min(*room, bytes - off);
		r = mem_translate(m, be32_to_cpu(k->klm[i].key), pd,
				  be64_to_cpu(k->klm[i].va) + off, write, dma,
				  room);
		*room = min(*room, bytes);
		return r;
	}
}

int mem_access(struct mock *m, u32 key, u32 pd, u64 addr, void *buf, u32 len,
	       bool write)
{
	u64 dma, room;
	void *mem;
	int r;

	while (len) {
		r = mem_translate(m, key, pd, addr, write, &dma, &room);
		if (r)
			return r;
		room = min_t(u64, len, min_t(u64, room, PAGE_SIZE - offset_in_page(dma)));
		mem = mem_dma(dma);
		if (!mem)
			return -EFAULT;
		if (write)
			memcpy(mem, buf, room);
		else
			memcpy(buf, mem, room);
		m->bytes += room;
		addr += room;
		buf += room;
		len -= room;
	}

	return 0;
}
