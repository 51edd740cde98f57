// SPDX-License-Identifier: GPL-2.0
/*
 * Memory keys. A key with the addresses of pages (MTT) or one that lists other
 * keys (KLM) covers [start, start + len); a key for all of memory (PA) takes
 * addresses as they are. Whatever is not covered, or not with the right that is
 * asked for, is a fault.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "mock.h"

/* What the device finds at a DMA address; NULL is nothing */
static struct page *mem_page(struct mock *m, u64 addr)
{
	u64 phys = m->domain ? iommu_iova_to_phys(m->domain, addr) : addr;

	return phys && pfn_valid(PHYS_PFN(phys)) ? pfn_to_page(PHYS_PFN(phys)) : NULL;
}

void *mem_dma(struct mock *m, u64 addr)
{
	struct page *page = mem_page(m, addr);

	return page ? page_to_virt(page) + offset_in_page(addr) : NULL;
}

/* The allocator's, or of its kind, but for hugetlb: nobody's data, no reference counts */
static bool mem_is_free(struct page *page)
{
	return !page_count(page) || PageSlab(page) ||
	       (page_has_type(page) && !PageHuge(page));
}

/* Page tables that have a small page */
static int mem_mapcount(struct page *page)
{
	return atomic_read(&page->_mapcount) + 1;
}

/*
 * A pin of a small page is no more than many references. Those of page tables,
 * however many, are none.
 */
static bool mem_pinned(struct page *page)
{
	/* Nobody pins the zero page, which is there for ever */
	if (is_zero_pfn(page_to_pfn(page)))
		return true;
	if (mem_is_free(page))
		return false;
	if (PageCompound(page))
		return folio_maybe_dma_pinned(page_folio(page));

	return page_count(page) - mem_mapcount(page) >= GUP_PIN_COUNTING_BIAS;
}

/*
 * Does anybody keep it, but for the one who has it mapped or cached? A driver
 * that is left with a key has no way to pin pages, and takes references. Those of
 * a large page are not told apart.
 */
static bool mem_kept(struct page *page)
{
	if (mem_is_free(page) || PageCompound(page))
		return !mem_is_free(page);

	return page_count(page) - mem_mapcount(page) > !!folio_mapping(page_folio(page));
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
			fw_lint(m, "entry %u of %u of a KLM key is key %#x", i,
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

u64 mem_entries(struct mock *m)
{
	struct fw_obj *o;
	unsigned long id;
	u64 n = 0;

	xa_for_each(&m->obj[FW_MKEY], id, o)
		if (o->mkey.mode == MLX5_MKC_ACCESS_MODE_MTT)
			n += mem_pages(&o->mkey);

	return n;
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
			fw_lint(m, "MTT page %#llx is not aligned to 2^%u", addr,
				k->log_page);
			return MLX5_CMD_STAT_BAD_PARAM_ERR;
		}
		if (!(i % 4096))
			cond_resched();
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
	u32 i;

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
	/* Firmware does not keep the CPU */
	for (i = 0; i < 16 * actual; i += SZ_64K) {
		memcpy((void *)k->mtt + i, from + i, min_t(u32, SZ_64K, 16 * actual - i));
		cond_resched();
	}

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
		if (o->uid) {
			fw_lint(m, "uid %u makes a key for all memory", o->uid);
			status = MLX5_CMD_STAT_BAD_PARAM_ERR;
		}
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
 * Whoever has a key made of a client's pages keeps them mapped for DMA, and
 * pinned, for as long as the key is there, as the device reaches them until
 * then. Is that so?
 */
static bool mem_check_key(struct mock *m, struct fw_obj *o)
{
	struct fw_mkey *k = &o->mkey;
	u64 off, n = mem_pages(k);
	struct page *page;
	u32 i;

	for (i = 0; i < n; i++) {
		for (off = 0; off < BIT_ULL(k->log_page); off += PAGE_SIZE) {
			page = mem_page(m, be64_to_cpu(k->mtt[i]) + off);
			if (page && (o->stuck ? mem_kept(page) : mem_pinned(page)))
				continue;
			fw_violation(m, "%skey %#x of %#llx bytes outlives %s of its page %#llx",
				     o->stuck ? "stuck " : "", o->id, k->len,
				     page ? "the pin" : "the DMA mapping",
				     be64_to_cpu(k->mtt[i]) + off);
			return false;
		}
	}

	return true;
}

u8 mem_destroy_mkey(struct mock *m, u32 id, u16 uid)
{
	struct fw_obj *o = fw_find(m, FW_MKEY, id);

	if (m->check_pins && o && o->mkey.mode == MLX5_MKC_ACCESS_MODE_MTT && !o->stuck)
		mem_check_key(m, o);

	return fw_destroy(m, FW_MKEY, id, uid);
}

/* Keys that the driver could not destroy, from time to time */
void mem_check_stuck(struct mock *m)
{
	struct fw_obj *o;
	unsigned long id;

	if (!m->check_pins || m->nstuck == 1)	/* the null key */
		return;
	xa_for_each(&m->obj[FW_MKEY], id, o)
		if (o->stuck && !o->told && o->mkey.mode == MLX5_MKC_ACCESS_MODE_MTT)
			o->told = !mem_check_key(m, o);
}

int mem_null_mkey(struct mock *m)
{
	struct fw_obj *o;
	u8 status = fw_create(m, FW_MKEY, 0, &o);

	if (status)
		return fw_errno(status);
	o->mkey.mode = FW_MKEY_NULL;
	/* There from the start, and for good */
	o->stuck = true;
	m->nstuck++;
	m->alive[FW_MKEY]--;
	m->null_mkey = o;

	return 0;
}

/*
 * The DMA address of @addr, how many bytes from there on belong together, and
 * whether it is of a client, which has its pages pinned
 */
static int mem_translate(struct mock *m, u32 key, u32 pd, u64 addr, bool write,
			 u64 *dma, u64 *room, bool *client)
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
		*client = false;
		*dma = addr;
		*room = min_t(u64, *room, PAGE_SIZE - offset_in_page(addr));
		return 0;

	case MLX5_MKC_ACCESS_MODE_MTT:
		*client = true;
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
				  room, client);
		*room = min(*room, bytes);
		return r;
	}
}

/*
 * The page at a DMA address, if the device may go there. A page that a key names
 * and that nobody keeps for it can be anyone's by now: it is left alone.
 */
static void *mem_reach(struct mock *m, struct fw_obj *q, u64 dma, bool client)
{
	struct page *page = mem_page(m, dma);
	bool ok = page;

	if (page && m->check_pins && q->stuck)
		ok = mem_kept(page);
	else if (page && m->check_pins && client)
		ok = mem_pinned(page);
	if (ok)
		return page_to_virt(page) + offset_in_page(dma);
	if (page || client)
		fw_violation(m, "%squeue %u reaches page %#llx, which is not %s",
			     q->stuck ? "stuck " : "", q->vq.index, dma,
			     page ? "pinned" : "mapped for DMA");

	return NULL;
}

/* A virtqueue reads or writes what is at @addr of one of its keys */
int mem_access(struct mock *m, struct fw_obj *q, u32 key, u64 addr, void *buf,
	       u32 len, bool write)
{
	u64 dma, room;
	bool client;
	void *mem;
	int r;

	while (len) {
		r = mem_translate(m, key, q->vq.pd, addr, write, &dma, &room,
				  &client);
		if (r)
			return r;
		room = min_t(u64, len, min_t(u64, room, PAGE_SIZE - offset_in_page(dma)));
		mem = mem_reach(m, q, dma, client);
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
