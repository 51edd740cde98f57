// SPDX-License-Identifier: GPL-2.0
/*
 * What mlx5_vdpa imports from mlx5_core, on top of the model of the firmware.
 * The PCI device is QEMU's ivshmem-plain: its BAR 2 has the UAR page, which is
 * written and not read, and the doorbell page.
 */
#include <linux/auxiliary_bus.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/etherdevice.h>
#include <linux/idr.h>
#include <linux/if_vlan.h>
#include <linux/kthread.h>
#include <linux/mlx5/mpfs.h>
#include <linux/mlx5/vport.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "mock.h"

#define MOCK_BAR	2
#define MOCK_DOORBELL	PAGE_SIZE
#define MOCK_EQN	5
#define MOCK_UAR	7
#define MOCK_LATENCY_US	100
#define MOCK_MTU	(1500 + ETH_HLEN + VLAN_HLEN + ETH_FCS_LEN)

static bool umem_uid_0 = true;
module_param(umem_uid_0, bool, 0444);
MODULE_PARM_DESC(umem_uid_0, "The firmware lets the kernel (uid 0) own queues and map all memory");

static bool freeze_to_rdy;
module_param(freeze_to_rdy, bool, 0444);
MODULE_PARM_DESC(freeze_to_rdy, "A queue that is suspended can be made ready again");

static bool desc_group;
module_param(desc_group, bool, 0444);
MODULE_PARM_DESC(desc_group, "The rings of a queue can have a key of their own");

static uint max_vqs = 32;
module_param(max_vqs, uint, 0444);
MODULE_PARM_DESC(max_vqs, "Data virtqueues of the device");

/* The numbers of the models, one for each PCI device */
static DEFINE_IDA(mock_ids);

/* Commands */

/*
 * @issued: when, if the driver does not wait for it. @lost: it is not carried out.
 */
static int mock_exec(struct mock *m, void *in, int in_size, void *out, int out_size,
		     const struct fw_clock *issued, bool lost)
{
	u8 status = MLX5_CMD_STAT_BAD_INP_LEN_ERR;

	mutex_lock(&m->lock);
	m->issued = issued;
	m->lost = lost;
	memset(out, 0, out_size);
	if (in_size >= MLX5_ST_SZ_BYTES(alloc_pd_in) &&
	    out_size >= MLX5_ST_SZ_BYTES(alloc_pd_out))
		status = fw_cmd(m, in, in_size, out, out_size);
	else
		fw_violation(m, "command of %d bytes with %d for the answer",
			     in_size, out_size);
	MLX5_SET(alloc_pd_out, out, status, status);
	m->issued = NULL;
	m->lost = false;
	mutex_unlock(&m->lock);

	return fw_errno(status);
}

int mlx5_cmd_exec(struct mlx5_core_dev *dev, void *in, int in_size, void *out,
		  int out_size)
{
	return mock_exec(to_mock(dev), in, in_size, out, out_size, NULL, false);
}
EXPORT_SYMBOL(mlx5_cmd_exec);

/*
 * Commands that the driver does not wait for. A thread of its own is late, so that
 * what is issued together is in flight together, and carries them out in the wrong
 * order. The callback must not sleep.
 */

struct mock_async {
	struct list_head list;
	struct fw_clock issued;
	struct mlx5_async_work *context;
	mlx5_async_cbk_t callback;
	void *out;
	int outlen;
	int inlen;
	u8 in[];
};

/* In flight; the next one is told to try again */
#define MOCK_ASYNC_MAX	128
#define MOCK_ASYNC_US	500
/* Longer than a slow kernel is between two commands that it issues together */
#define MOCK_QUIET_US	50000
/* To be later than whoever issues a command, also if it does not sleep before */
#define MOCK_ASYNC_NICE	19

/* As mlx5_core has it: the context is the last thing that a command touches */
static void mock_async_put(struct mlx5_async_ctx *ctx)
{
	if (atomic_dec_and_test(&ctx->num_inflight))
		complete(&ctx->inflight_done);
}

/* @r: what the callback is told */
static void mock_async_done(struct mock *m, struct mock_async *a, int r)
{
	struct mlx5_async_ctx *ctx = a->context->ctx;
	unsigned long flags;

	spin_lock(&m->async_lock);
	m->nasync--;
	spin_unlock(&m->async_lock);
	local_irq_save(flags);
	a->callback(r, a->context);
	local_irq_restore(flags);
	mock_async_put(ctx);
	kvfree(a);
}

/*
 * A command that never gets an answer is not carried out, unless it is the function
 * that has gone: then all that there was on it has gone with it.
 */
static int mock_async_exec(struct mock *m, struct mock_async *a)
{
	const u32 err = READ_ONCE(m->async_err);
	const bool gone = err == ENXIO && fw_destroys(a->in);
	int r;

	r = mock_exec(m, a->in, a->inlen, a->out, a->outlen, &a->issued, err && !gone);
	if (!err)
		return r ? -EREMOTEIO : 0;
	memset(a->out, 0, a->outlen);

	return -(int)err;
}

static void mock_async_work(struct kthread_work *work)
{
	struct mock *m = container_of(work, struct mock, async_work);
	u32 async_us = READ_ONCE(m->async_us);
	struct mock_async *a, *next;
	unsigned int there;
	LIST_HEAD(list);

	if (async_us)
		usleep_range(async_us, 2 * async_us);
	while (READ_ONCE(m->async_all)) {
		there = READ_ONCE(m->nasync);
		usleep_range(MOCK_QUIET_US, 2 * MOCK_QUIET_US);
		if (there == READ_ONCE(m->nasync))
			break;
	}
	spin_lock(&m->async_lock);
	list_splice_init(&m->async, &list);
	spin_unlock(&m->async_lock);

	list_for_each_entry_safe(a, next, &list, list)
		mock_async_done(m, a, mock_async_exec(m, a));
}

/* The driver has one at a time: two are one that was never cleaned up */
void mlx5_cmd_init_async_ctx(struct mlx5_core_dev *dev, struct mlx5_async_ctx *ctx)
{
	struct mock *m = to_mock(dev);

	ctx->dev = dev;
	atomic_set(&ctx->num_inflight, 1);
	init_completion(&ctx->inflight_done);
	if (atomic_inc_return(&m->async_ctxs) > 1) {
		mutex_lock(&m->lock);
		fw_violation(m, "a context of commands was not cleaned up");
		mutex_unlock(&m->lock);
	}
}
EXPORT_SYMBOL(mlx5_cmd_init_async_ctx);

void mlx5_cmd_cleanup_async_ctx(struct mlx5_async_ctx *ctx)
{
	if (!atomic_dec_and_test(&ctx->num_inflight))
		wait_for_completion(&ctx->inflight_done);
	atomic_dec(&to_mock(ctx->dev)->async_ctxs);
}
EXPORT_SYMBOL(mlx5_cmd_cleanup_async_ctx);

/* Into the list, the last one first, unless it is full */
static bool mock_async_add(struct mock *m, struct mock_async *a)
{
	bool added;

	spin_lock(&m->async_lock);
	added = m->nasync < min_t(u32, READ_ONCE(m->max_async), MOCK_ASYNC_MAX);
	if (added) {
		m->nasync++;
		list_add(&a->list, &m->async);
	}
	spin_unlock(&m->async_lock);

	return added;
}

int mlx5_cmd_exec_cb(struct mlx5_async_ctx *ctx, void *in, int in_size, void *out,
		     int out_size, mlx5_async_cbk_t callback,
		     struct mlx5_async_work *work)
{
	struct mock *m = to_mock(ctx->dev);
	const u32 err = READ_ONCE(m->issue_err);
	struct mock_async *a;

	if (err)
		return -(int)err;
	if (!atomic_inc_not_zero(&ctx->num_inflight)) {
		mutex_lock(&m->lock);
		fw_violation(m, "a command is issued in a context that was cleaned up");
		mutex_unlock(&m->lock);
		return -EIO;
	}
	a = kvmalloc(sizeof(*a) + in_size, GFP_KERNEL);
	if (!a) {
		mock_async_put(ctx);
		return -ENOMEM;
	}
	memcpy(a->in, in, in_size);
	a->inlen = in_size;
	a->out = out;
	a->outlen = out_size;
	a->callback = callback;
	a->context = work;
	work->ctx = ctx;
	mutex_lock(&m->lock);
	a->issued = m->now;
	mutex_unlock(&m->lock);
	if (!mock_async_add(m, a)) {
		mock_async_put(ctx);
		kvfree(a);
		return -EBUSY;
	}
	kthread_queue_work(m->worker, &m->async_work);

	return 0;
}
EXPORT_SYMBOL(mlx5_cmd_exec_cb);

/* Of a function that is gone nothing is left to be destroyed, as mlx5_core has it */
int mlx5_cmd_check(struct mlx5_core_dev *dev, int err, void *in, void *out)
{
	if (err == -ENXIO && fw_destroys(in))
		return 0;
	if (err && err != -EREMOTEIO)
		return err;

	return fw_errno(MLX5_GET(alloc_pd_out, out, status));
}
EXPORT_SYMBOL(mlx5_cmd_check);

int mlx5_query_nic_vport_mac_address(struct mlx5_core_dev *mdev, u16 vport,
				     bool other, u8 *addr)
{
	struct mock *m = to_mock(mdev);
	u8 status;

	mutex_lock(&m->lock);
	status = fw_begin(m, MLX5_CMD_OP_QUERY_NIC_VPORT_CONTEXT);
	ether_addr_copy(addr, m->default_mac);
	mutex_unlock(&m->lock);

	return fw_errno(status);
}
EXPORT_SYMBOL_GPL(mlx5_query_nic_vport_mac_address);

int mlx5_query_nic_vport_mtu(struct mlx5_core_dev *mdev, u16 *mtu)
{
	struct mock *m = to_mock(mdev);
	u8 status;

	mutex_lock(&m->lock);
	status = fw_begin(m, MLX5_CMD_OP_QUERY_NIC_VPORT_CONTEXT);
	*mtu = m->mtu;
	mutex_unlock(&m->lock);

	return fw_errno(status);
}
EXPORT_SYMBOL_GPL(mlx5_query_nic_vport_mtu);

/* Addresses of the port: counted, as several functions can have the same */
static struct fw_obj *mpfs_find(struct mock *m, const u8 *mac)
{
	struct fw_obj *o;
	unsigned long id;

	xa_for_each(&m->obj[FW_MAC], id, o)
		if (!o->stuck && ether_addr_equal(o->mac, mac))
			return o;

	return NULL;
}

int mlx5_mpfs_add_mac(struct mlx5_core_dev *dev, u8 *mac)
{
	struct mock *m = to_mock(dev);
	struct fw_obj *o;
	u8 status = 0;

	mutex_lock(&m->lock);
	o = mpfs_find(m, mac);
	if (o) {
		o->refs++;
	} else {
		status = fw_begin(m, MLX5_CMD_OP_SET_L2_TABLE_ENTRY) ?:
			 fw_create(m, FW_MAC, 0, &o);
		if (!status)
			ether_addr_copy(o->mac, mac);
	}
	mutex_unlock(&m->lock);

	return fw_errno(status);
}
EXPORT_SYMBOL(mlx5_mpfs_add_mac);

int mlx5_mpfs_del_mac(struct mlx5_core_dev *dev, u8 *mac)
{
	struct mock *m = to_mock(dev);
	struct fw_obj *o;
	int r = 0;

	mutex_lock(&m->lock);
	o = mpfs_find(m, mac);
	if (!o) {
		fw_violation(m, "%pM is not in the L2 table", mac);
		r = -ENOENT;
	} else if (o->refs) {
		o->refs--;
	} else {
		/* mlx5_core does not look at what the firmware says */
		fw_begin(m, MLX5_CMD_OP_DELETE_L2_TABLE_ENTRY);
		fw_destroy(m, FW_MAC, o->id, 0);
	}
	mutex_unlock(&m->lock);

	return r;
}
EXPORT_SYMBOL(mlx5_mpfs_del_mac);

/* Completion queues */

int mlx5_vector2eqn(struct mlx5_core_dev *dev, int vector, int *eqn)
{
	if (vector)
		return -ENOENT;
	*eqn = MOCK_EQN;

	return 0;
}
EXPORT_SYMBOL(mlx5_vector2eqn);

int mlx5_comp_eqn_get(struct mlx5_core_dev *dev, u16 vector, int *eqn)
{
	return mlx5_vector2eqn(dev, vector, eqn);
}
EXPORT_SYMBOL(mlx5_comp_eqn_get);

int mlx5_core_create_cq(struct mlx5_core_dev *dev, struct mlx5_core_cq *cq,
			u32 *in, int inlen, u32 *out, int outlen)
{
	void *cqc = MLX5_ADDR_OF(create_cq_in, in, cq_context);
	struct mock *m = to_mock(dev);
	struct fw_obj *o;
	int r;

	if (MLX5_GET(cqc, cqc, c_eqn_or_apu_element) != MOCK_EQN)
		return -ENOENT;

	MLX5_SET(create_cq_in, in, opcode, MLX5_CMD_OP_CREATE_CQ);
	r = mlx5_cmd_exec(dev, in, inlen, out, outlen);
	if (r)
		return r;

	cq->cqn = MLX5_GET(create_cq_out, out, cqn);
	cq->uid = MLX5_GET(create_cq_in, in, uid);
	cq->cons_index = 0;
	cq->arm_sn = 0;
	*cq->arm_db = cpu_to_be32(2 << 28);	/* not armed */

	mutex_lock(&m->lock);
	o = fw_find(m, FW_CQ, cq->cqn);
	WRITE_ONCE(o->cq.mcq, cq);
	mutex_unlock(&m->lock);

	return 0;
}
EXPORT_SYMBOL(mlx5_core_create_cq);

/* No event any more, whatever the command then says */
int mlx5_core_destroy_cq(struct mlx5_core_dev *dev, struct mlx5_core_cq *cq)
{
	u32 out[MLX5_ST_SZ_DW(destroy_cq_out)];
	u32 in[MLX5_ST_SZ_DW(destroy_cq_in)] = {};
	struct mock *m = to_mock(dev);
	struct fw_obj *o;

	mutex_lock(&m->lock);
	o = fw_find(m, FW_CQ, cq->cqn);
	if (o) {
		WRITE_ONCE(o->cq.mcq, NULL);
		irq_work_sync(&o->cq.irq);
	}
	mutex_unlock(&m->lock);

	MLX5_SET(destroy_cq_in, in, opcode, MLX5_CMD_OP_DESTROY_CQ);
	MLX5_SET(destroy_cq_in, in, cqn, cq->cqn);
	MLX5_SET(destroy_cq_in, in, uid, cq->uid);

	return mlx5_cmd_exec(dev, in, sizeof(in), out, sizeof(out));
}
EXPORT_SYMBOL(mlx5_core_destroy_cq);

/* Buffers; listed, so that one that the driver forgets is seen */

struct mock_buffer {
	struct list_head list;
	void *key;		/* where the driver has it */
	void *mem;
	dma_addr_t dma;
};

static int buffer_add(struct mock *m, void *key, void **mem, dma_addr_t *dma)
{
	struct mock_buffer *b = kzalloc(sizeof(*b), GFP_KERNEL);

	if (!b)
		return -ENOMEM;
	b->mem = dma_alloc_coherent(m->mdev.device, PAGE_SIZE, &b->dma, GFP_KERNEL);
	if (!b->mem) {
		kfree(b);
		return -ENOMEM;
	}
	b->key = key;
	*mem = b->mem;
	*dma = b->dma;

	mutex_lock(&m->lock);
	list_add(&b->list, &m->buffers);
	m->nbuffers++;
	mutex_unlock(&m->lock);

	return 0;
}

static void buffer_del(struct mock *m, void *mem)
{
	struct mock_buffer *b, *found = NULL;
	struct fw_obj *user;

	mutex_lock(&m->lock);
	list_for_each_entry(b, &m->buffers, list)
		if (b->mem == mem)
			found = b;
	if (found) {
		user = fw_buffer_user(m, found->dma);
		if (user) {
			fw_violation(m, "a buffer of %s %#x is freed",
				     fw_kind_name[user->kind], user->id);
			user->pas_gone = true;
		}
		list_del(&found->list);
		m->nbuffers--;
	} else {
		fw_violation(m, "a buffer is freed that is not there");
	}
	mutex_unlock(&m->lock);

	if (found)
		dma_free_coherent(m->mdev.device, PAGE_SIZE, found->mem, found->dma);
	kfree(found);
}

int mlx5_frag_buf_alloc_node(struct mlx5_core_dev *dev, int size,
			     struct mlx5_frag_buf *buf, int node)
{
	int i, r;

	buf->size = size;
	buf->npages = DIV_ROUND_UP(size, PAGE_SIZE);
	buf->page_shift = PAGE_SHIFT;
	buf->frags = kcalloc(buf->npages, sizeof(*buf->frags), GFP_KERNEL);
	if (!buf->frags)
		return -ENOMEM;

	for (i = 0; i < buf->npages; i++) {
		r = buffer_add(to_mock(dev), buf->frags, &buf->frags[i].buf,
			       &buf->frags[i].map);
		if (r) {
			while (i--)
				buffer_del(to_mock(dev), buf->frags[i].buf);
			kfree(buf->frags);
			return r;
		}
	}

	return 0;
}
EXPORT_SYMBOL_GPL(mlx5_frag_buf_alloc_node);

void mlx5_frag_buf_free(struct mlx5_core_dev *dev, struct mlx5_frag_buf *buf)
{
	int i;

	for (i = 0; i < buf->npages; i++)
		buffer_del(to_mock(dev), buf->frags[i].buf);
	kfree(buf->frags);
}
EXPORT_SYMBOL_GPL(mlx5_frag_buf_free);

void mlx5_fill_page_frag_array_perm(struct mlx5_frag_buf *buf, __be64 *pas, u8 perm)
{
	int i;

	for (i = 0; i < buf->npages; i++)
		pas[i] = cpu_to_be64(buf->frags[i].map | perm);
}
EXPORT_SYMBOL_GPL(mlx5_fill_page_frag_array_perm);

void mlx5_fill_page_frag_array(struct mlx5_frag_buf *frag_buf, __be64 *pas)
{
	mlx5_fill_page_frag_array_perm(frag_buf, pas, 0);
}
EXPORT_SYMBOL_GPL(mlx5_fill_page_frag_array);

int mlx5_db_alloc_node(struct mlx5_core_dev *dev, struct mlx5_db *db, int node)
{
	void *mem;
	int r = buffer_add(to_mock(dev), db, &mem, &db->dma);

	if (!r)
		db->db = mem;

	return r;
}
EXPORT_SYMBOL_GPL(mlx5_db_alloc_node);

void mlx5_db_free(struct mlx5_core_dev *dev, struct mlx5_db *db)
{
	buffer_del(to_mock(dev), db->db);
}
EXPORT_SYMBOL_GPL(mlx5_db_free);

struct mlx5_uars_page *mlx5_get_uars_page(struct mlx5_core_dev *mdev)
{
	struct mock *m = to_mock(mdev);
	u8 status;

	mutex_lock(&m->lock);
	status = fw_begin(m, MLX5_CMD_OP_ALLOC_UAR);
	if (!status)
		m->nuars++;
	mutex_unlock(&m->lock);

	return status ? ERR_PTR(fw_errno(status)) : &m->uar;
}
EXPORT_SYMBOL(mlx5_get_uars_page);

void mlx5_put_uars_page(struct mlx5_core_dev *mdev, struct mlx5_uars_page *up)
{
	struct mock *m = to_mock(mdev);

	mutex_lock(&m->lock);
	if (!m->nuars)
		fw_violation(m, "UAR page is put once too often");
	else if (!--m->nuars)
		fw_free_stuck(m);
	mutex_unlock(&m->lock);
}
EXPORT_SYMBOL(mlx5_put_uars_page);

/* Steering: the handles that the driver gets are numbers */

struct mlx5_flow_namespace *mlx5_get_flow_namespace(struct mlx5_core_dev *dev,
						    enum mlx5_flow_namespace_type type)
{
	return type == MLX5_FLOW_NAMESPACE_BYPASS ? (void *)to_mock(dev) : NULL;
}
EXPORT_SYMBOL(mlx5_get_flow_namespace);

/* A handle has to lead to the device */
struct mlx5_flow_table {
	struct mock *m;
	u32 id;
};

struct mlx5_flow_handle {
	struct mock *m;
	u32 id;
};

struct mlx5_flow_table *
mlx5_create_auto_grouped_flow_table(struct mlx5_flow_namespace *ns,
				    struct mlx5_flow_table_attr *ft_attr)
{
	struct mlx5_flow_table *ft = kzalloc(sizeof(*ft), GFP_KERNEL);
	struct mock *m = (void *)ns;
	struct fw_obj *o;
	u8 status;

	if (!ft)
		return ERR_PTR(-ENOMEM);
	mutex_lock(&m->lock);
	status = fw_begin(m, MLX5_CMD_OP_CREATE_FLOW_TABLE) ?:
		 fw_create(m, FW_TABLE, 0, &o);
	mutex_unlock(&m->lock);
	if (status) {
		kfree(ft);
		return ERR_PTR(fw_errno(status));
	}
	ft->m = m;
	ft->id = o->id;

	return ft;
}
EXPORT_SYMBOL(mlx5_create_auto_grouped_flow_table);

int mlx5_destroy_flow_table(struct mlx5_flow_table *ft)
{
	struct mock *m = ft->m;
	u8 status;

	mutex_lock(&m->lock);
	fw_begin(m, MLX5_CMD_OP_DESTROY_FLOW_TABLE);
	status = fw_destroy(m, FW_TABLE, ft->id, 0);
	mutex_unlock(&m->lock);
	/* mlx5_core gives up its part, whatever the firmware says */
	kfree(ft);

	return fw_errno(status);
}
EXPORT_SYMBOL(mlx5_destroy_flow_table);

u32 mlx5_flow_table_id(struct mlx5_flow_table *ft)
{
	return ft->id;
}
EXPORT_SYMBOL(mlx5_flow_table_id);

static u8 rule_fill(struct mock *m, struct fw_obj *o, u32 table, u32 tirn,
		    const struct mlx5_flow_spec *spec)
{
	const void *c = MLX5_ADDR_OF(fte_match_param, spec->match_criteria, outer_headers);
	const void *v = MLX5_ADDR_OF(fte_match_param, spec->match_value, outer_headers);
	struct fw_obj *tir = fw_find(m, FW_TIR, tirn);

	ether_addr_copy(o->rule.mac_mask,
			MLX5_ADDR_OF(fte_match_set_lyr_2_4, c, dmac_47_16));
	ether_addr_copy(o->rule.mac, MLX5_ADDR_OF(fte_match_set_lyr_2_4, v, dmac_47_16));
	o->rule.match_tag = MLX5_GET(fte_match_set_lyr_2_4, c, cvlan_tag);
	o->rule.tag = MLX5_GET(fte_match_set_lyr_2_4, v, cvlan_tag);
	o->rule.vid = MLX5_GET(fte_match_set_lyr_2_4, v, first_vid);

	/* mlx5_core owns tables and rules, the TIR can be another one's */
	o->uid = tir ? tir->uid : 0;
	return fw_use(m, o, FW_TIR, tirn, &o->rule.tir) ?:
	       (o->uid = 0, fw_use(m, o, FW_TABLE, table, NULL));
}

struct mlx5_flow_handle *mlx5_add_flow_rules(struct mlx5_flow_table *ft,
					     const struct mlx5_flow_spec *spec,
					     struct mlx5_flow_act *flow_act,
					     struct mlx5_flow_destination *dest,
					     int num_dest)
{
	struct mlx5_flow_handle *fr = kzalloc(sizeof(*fr), GFP_KERNEL);
	struct mock *m = ft->m;
	struct fw_obj *o;
	u8 status;

	if (!fr)
		return ERR_PTR(-ENOMEM);
	if (num_dest != 1 || dest->type != MLX5_FLOW_DESTINATION_TYPE_TIR ||
	    flow_act->action != MLX5_FLOW_CONTEXT_ACTION_FWD_DEST ||
	    spec->match_criteria_enable != MLX5_MATCH_OUTER_HEADERS) {
		kfree(fr);
		return ERR_PTR(-EOPNOTSUPP);
	}

	mutex_lock(&m->lock);
	status = fw_begin(m, MLX5_CMD_OP_SET_FLOW_TABLE_ENTRY) ?:
		 fw_create(m, FW_RULE, 0, &o);
	if (!status) {
		status = rule_fill(m, o, ft->id, dest->tir_num, spec);
		if (status)
			fw_destroy(m, FW_RULE, o->id, o->uid);
	}
	mutex_unlock(&m->lock);
	if (status) {
		kfree(fr);
		return ERR_PTR(fw_errno(status));
	}
	fr->m = m;
	fr->id = o->id;

	return fr;
}
EXPORT_SYMBOL(mlx5_add_flow_rules);

void mlx5_del_flow_rules(struct mlx5_flow_handle *fr)
{
	struct mock *m = fr->m;

	mutex_lock(&m->lock);
	fw_begin(m, MLX5_CMD_OP_DELETE_FLOW_TABLE_ENTRY);
	fw_destroy(m, FW_RULE, fr->id, 0);
	mutex_unlock(&m->lock);
	kfree(fr);
}
EXPORT_SYMBOL(mlx5_del_flow_rules);

/* Events */

int mlx5_notifier_register(struct mlx5_core_dev *dev, struct notifier_block *nb)
{
	struct mock *m = to_mock(dev);
	int r = atomic_notifier_chain_register(&m->events, nb);

	mutex_lock(&m->lock);
	if (r)
		fw_violation(m, "a notifier is registered twice");
	else
		m->nnotifiers++;
	mutex_unlock(&m->lock);

	return r;
}
EXPORT_SYMBOL(mlx5_notifier_register);

int mlx5_notifier_unregister(struct mlx5_core_dev *dev, struct notifier_block *nb)
{
	struct mock *m = to_mock(dev);
	int r = atomic_notifier_chain_unregister(&m->events, nb);

	mutex_lock(&m->lock);
	if (r)
		fw_violation(m, "a notifier is unregistered that is not there");
	else
		m->nnotifiers--;
	mutex_unlock(&m->lock);

	return r;
}
EXPORT_SYMBOL(mlx5_notifier_unregister);

static int mock_link_get(void *data, u64 *val)
{
	struct mock *m = data;

	*val = m->link;
	return 0;
}

static int mock_link_set(void *data, u64 val)
{
	struct mock *m = data;
	struct mlx5_eqe eqe = {
		.type = MLX5_EVENT_TYPE_PORT_CHANGE,
		.sub_type = val ? MLX5_PORT_CHANGE_SUBTYPE_ACTIVE :
				  MLX5_PORT_CHANGE_SUBTYPE_DOWN,
	};

	mutex_lock(&m->lock);
	m->link = val;
	mutex_unlock(&m->lock);
	atomic_notifier_call_chain(&m->events, eqe.type, &eqe);

	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(mock_link_fops, mock_link_get, mock_link_set, "%llu\n");

static int mock_hold_irqs_set(void *data, u64 val)
{
	vq_hold_irqs(data, val);

	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(mock_hold_irqs_fops, NULL, mock_hold_irqs_set, "%llu\n");

/* debugfs: numbers as files, and lists of "name number" */

static int mock_objects_show(struct seq_file *s, void *unused)
{
	struct mock *m = s->private;
	int i;

	mutex_lock(&m->lock);
	for (i = 0; i < FW_KINDS; i++)
		seq_printf(s, "%s %u\n", fw_kind_name[i], m->alive[i]);
	seq_printf(s, "entry %llu\n", mem_entries(m));
	seq_printf(s, "buffer %u\n", m->nbuffers);
	seq_printf(s, "notifier %u\n", m->nnotifiers);
	seq_printf(s, "uar %u\n", m->nuars);
	mutex_unlock(&m->lock);

	return 0;
}
DEFINE_SHOW_ATTRIBUTE(mock_objects);

static int mock_commands_show(struct seq_file *s, void *unused)
{
	struct mock *m = s->private;
	int i;

	mutex_lock(&m->lock);
	seq_printf(s, "total %llu\n", m->total);
	for (i = 0; i < FW_OPCODES; i++)
		if (m->commands[i])
			seq_printf(s, "%#x %u\n", i, m->commands[i]);
	mutex_unlock(&m->lock);

	return 0;
}
DEFINE_SHOW_ATTRIBUTE(mock_commands);

static int mock_queues_show(struct seq_file *s, void *unused)
{
	static const char * const state[] = { "INIT", "RDY", "SUSPEND", "ERR" };
	struct mock *m = s->private;
	struct fw_obj *o;
	unsigned long id;

	mutex_lock(&m->lock);
	xa_for_each(&m->obj[FW_VQ], id, o)
		seq_printf(s, "%u %s%s avail %u used %u\n", o->vq.index,
			   state[o->vq.state], o->stuck ? " stuck" : "", o->vq.avail, o->vq.used);
	mutex_unlock(&m->lock);

	return 0;
}
DEFINE_SHOW_ATTRIBUTE(mock_queues);

static int mock_violation_show(struct seq_file *s, void *unused)
{
	struct mock *m = s->private;

	mutex_lock(&m->lock);
	seq_printf(s, "%s\n", m->violation);
	mutex_unlock(&m->lock);

	return 0;
}
DEFINE_SHOW_ATTRIBUTE(mock_violation);

static int mock_violations_get(void *data, u64 *val)
{
	struct mock *m = data;

	mutex_lock(&m->lock);
	mem_check_stuck(m);
	*val = m->violations;
	mutex_unlock(&m->lock);

	return 0;
}

static int mock_violations_set(void *data, u64 val)
{
	struct mock *m = data;

	mutex_lock(&m->lock);
	m->violations = val;
	mutex_unlock(&m->lock);

	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(mock_violations_fops, mock_violations_get, mock_violations_set,
			 "%llu\n");

static int mock_cap_get(const __be32 *cap, unsigned int bit, u64 *val)
{
	*val = !!(be32_to_cpu(cap[bit / 32]) & BIT(31 - bit % 32));

	return 0;
}

/* Another firmware: not while a driver has looked at this one */
static int mock_cap_set(struct mock *m, __be32 *cap, unsigned int bit, bool val)
{
	const __be32 mask = cpu_to_be32(BIT(31 - bit % 32));
	int r = 0;

	mutex_lock(&m->lock);
	if (m->nuars)
		r = -EBUSY;
	else if (val)
		cap[bit / 32] |= mask;
	else
		cap[bit / 32] &= ~mask;
	mutex_unlock(&m->lock);

	return r;
}

/* A capability of one bit. @_cap is of a mock m */
#define MOCK_CAP(_name, _type, _cap)						\
static __be32 *mock_##_name##_caps(struct mock *m)				\
{										\
	return (__be32 *)(_cap).cur;						\
}										\
										\
static const unsigned int mock_##_name##_bit = __mlx5_bit_off(_type, _name);	\
										\
static int mock_##_name##_get(void *data, u64 *val)				\
{										\
	return mock_cap_get(mock_##_name##_caps(data), mock_##_name##_bit, val);	\
}										\
										\
static int mock_##_name##_set(void *data, u64 val)				\
{										\
	return mock_cap_set(data, mock_##_name##_caps(data),			\
			    mock_##_name##_bit, val);				\
}										\
DEFINE_DEBUGFS_ATTRIBUTE(mock_##_name##_fops, mock_##_name##_get,		\
			 mock_##_name##_set, "%llu\n")

MOCK_CAP(umem_uid_0, cmd_hca_cap, m->gen_cap);
MOCK_CAP(freeze_to_rdy_supported, fw_virtio_emulation_cap, m->vdpa_cap);
MOCK_CAP(desc_group_mkey_supported, fw_virtio_emulation_cap, m->vdpa_cap);

struct dentry *mlx5_debugfs_get_dev_root(struct mlx5_core_dev *dev)
{
	return to_mock(dev)->debugfs;
}
EXPORT_SYMBOL(mlx5_debugfs_get_dev_root);

static void mock_debugfs(struct mock *m)
{
	char name[16] = "mlx5_mock";
	struct dentry *d;

	if (m->id)
		snprintf(name, sizeof(name), "mlx5_mock.%d", m->id);
	d = debugfs_create_dir(name, NULL);
	m->debugfs = d;
	debugfs_create_file("objects", 0444, d, m, &mock_objects_fops);
	debugfs_create_file("commands", 0444, d, m, &mock_commands_fops);
	debugfs_create_file("queues", 0444, d, m, &mock_queues_fops);
	debugfs_create_file("violation", 0444, d, m, &mock_violation_fops);
	debugfs_create_u64("total", 0444, d, &m->total);
	debugfs_create_u64("chain", 0444, d, &m->now.chain);
	debugfs_create_u64("time_us", 0444, d, &m->now.us);
	debugfs_create_u32("latency_us", 0644, d, &m->latency_us);
	debugfs_create_u32("max_async", 0644, d, &m->max_async);
	debugfs_create_u32("async_us", 0644, d, &m->async_us);
	debugfs_create_bool("async_all", 0644, d, &m->async_all);
	debugfs_create_u32("issue_err", 0644, d, &m->issue_err);
	debugfs_create_u32("async_err", 0644, d, &m->async_err);
	debugfs_create_file_unsafe("violations", 0644, d, m, &mock_violations_fops);
	debugfs_create_u64("lints", 0644, d, &m->lints);
	debugfs_create_file_unsafe("umem_uid_0", 0644, d, m, &mock_umem_uid_0_fops);
	debugfs_create_file_unsafe("freeze_to_rdy", 0644, d, m,
				   &mock_freeze_to_rdy_supported_fops);
	debugfs_create_file_unsafe("desc_group", 0644, d, m,
				   &mock_desc_group_mkey_supported_fops);
	debugfs_create_bool("check_pins", 0644, d, &m->check_pins);
	debugfs_create_u64("faults", 0444, d, &m->faults);
	debugfs_create_u64("bytes", 0444, d, &m->bytes);
	debugfs_create_u64("frames", 0444, d, &m->frames);
	debugfs_create_u64("dropped", 0444, d, &m->dropped);
	debugfs_create_u64("rounds", 0444, d, &m->rounds);
	debugfs_create_u32("ready", 0444, d, &m->ready);
	debugfs_create_u32("fail_nth", 0644, d, &m->fail_nth);
	debugfs_create_x32("fail_opcode", 0644, d, &m->fail_opcode);
	debugfs_create_u32("fail_more", 0644, d, &m->fail_more);
	debugfs_create_x32("failed", 0644, d, &m->failed);
	debugfs_create_u32("delay_us", 0644, d, &m->delay_us);
	debugfs_create_u32("stuck", 0444, d, &m->nstuck);
	debugfs_create_file_unsafe("link", 0644, d, m, &mock_link_fops);
	debugfs_create_file_unsafe("hold_irqs", 0200, d, m, &mock_hold_irqs_fops);
}

/* The device */

static void mock_caps(struct mock *m)
{
	void *gen = m->gen_cap.cur, *vdpa = m->vdpa_cap.cur;

	MLX5_SET(cmd_hca_cap, gen, umem_uid_0, umem_uid_0);
	MLX5_SET(cmd_hca_cap, gen, log_max_uctx, 4);
	MLX5_SET(cmd_hca_cap, gen, log_max_rqt_size, 6);
	MLX5_SET(cmd_hca_cap, gen, log_max_klm_list_size, 16);
	MLX5_SET(cmd_hca_cap, gen, log_min_sf_size, PAGE_SHIFT - 12);
	MLX5_SET64(cmd_hca_cap, gen, general_obj_types,
		   BIT_ULL(MLX5_OBJ_TYPE_VIRTIO_NET_Q) |
		   BIT_ULL(MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS));
	m->mdev.caps.hca[MLX5_CAP_GENERAL] = &m->gen_cap;

	MLX5_SET(virtio_emulation_cap, vdpa, virtio_version_1_0, 1);
	MLX5_SET(virtio_emulation_cap, vdpa, virtio_queue_type,
		 MLX5_VIRTIO_EMULATION_CAP_VIRTIO_QUEUE_TYPE_SPLIT);
	MLX5_SET(virtio_emulation_cap, vdpa, max_num_virtio_queues, max_vqs);
	MLX5_SET64(virtio_emulation_cap, vdpa, doorbell_bar_offset, MOCK_DOORBELL);
	MLX5_SET(fw_virtio_emulation_cap, vdpa, freeze_to_rdy_supported, freeze_to_rdy);
	MLX5_SET(fw_virtio_emulation_cap, vdpa, desc_group_mkey_supported, desc_group);
	MLX5_SET(virtio_emulation_cap, vdpa, umem_1_buffer_param_a, 64);
	MLX5_SET(virtio_emulation_cap, vdpa, umem_1_buffer_param_b, 4096);
	MLX5_SET(virtio_emulation_cap, vdpa, umem_2_buffer_param_a, 16);
	MLX5_SET(virtio_emulation_cap, vdpa, umem_2_buffer_param_b, 2048);
	MLX5_SET(virtio_emulation_cap, vdpa, umem_3_buffer_param_a, 8);
	MLX5_SET(virtio_emulation_cap, vdpa, umem_3_buffer_param_b, 1024);
	m->mdev.caps.hca[MLX5_CAP_VDPA_EMULATION] = &m->vdpa_cap;
}

static void mock_adev_release(struct device *dev)
{
	/* Part of struct mock, which lives until mock_remove() is done */
}

static int mock_add_adev(struct mock *m)
{
	struct auxiliary_device *adev = &m->madev.adev;
	int r;

	m->madev.mdev = &m->mdev;
	adev->name = "vnet";
	adev->id = m->id;
	adev->dev.parent = m->mdev.device;
	adev->dev.release = mock_adev_release;
	r = auxiliary_device_init(adev);
	if (r)
		return r;
	/* The name of the bus device is that of the module that it stands for */
	r = __auxiliary_device_add(adev, MLX5_ADEV_NAME);
	if (r)
		auxiliary_device_uninit(adev);

	return r;
}

static int mock_init(struct mock *m, struct pci_dev *pdev)
{
	int i, r;

	m->mdev.device = &pdev->dev;
	m->mdev.pdev = pdev;
	m->domain = iommu_get_domain_for_dev(&pdev->dev);
	m->mdev.priv.numa_node = NUMA_NO_NODE;
	m->mdev.bar_addr = pci_resource_start(pdev, MOCK_BAR);
	m->uar.index = MOCK_UAR;
	m->uar.map = m->bar;
	m->uar.mdev = &m->mdev;
	m->check_pins = true;
	m->link = true;
	m->mtu = MOCK_MTU;
	m->latency_us = MOCK_LATENCY_US;
	m->max_async = U32_MAX;
	m->async_us = MOCK_ASYNC_US;
	eth_random_addr(m->default_mac);
	mutex_init(&m->lock);
	init_waitqueue_head(&m->wait);
	INIT_LIST_HEAD(&m->buffers);
	INIT_LIST_HEAD(&m->async);
	spin_lock_init(&m->async_lock);
	kthread_init_work(&m->async_work, mock_async_work);
	ATOMIC_INIT_NOTIFIER_HEAD(&m->events);
	for (i = 0; i < FW_KINDS; i++)
		xa_init_flags(&m->obj[i], XA_FLAGS_ALLOC1);
	mock_caps(m);
	pci_set_drvdata(pdev, &m->mdev);
	iowrite16(0xffff, m->bar + MOCK_DOORBELL);

	mutex_lock(&m->lock);
	r = mem_null_mkey(m);
	mutex_unlock(&m->lock);
	if (r)
		return r;

	m->worker = kthread_create_worker(0, "mlx5_mock_async");
	if (IS_ERR(m->worker))
		return PTR_ERR(m->worker);
	set_user_nice(m->worker->task, MOCK_ASYNC_NICE);
	/* Not all kernels do; the kernel takes one that waits to be started for hung */
	wake_up_process(m->worker->task);
	m->thread = kthread_run(vq_thread, m, "mlx5_mock");

	return PTR_ERR_OR_ZERO(m->thread);
}

static void mock_exit(struct mock *m)
{
	struct mock_buffer *b, *n;

	if (!IS_ERR_OR_NULL(m->thread))
		kthread_stop(m->thread);
	if (!IS_ERR_OR_NULL(m->worker))
		kthread_destroy_worker(m->worker);
	fw_free_all(m);
	/* Those of stuck objects, and what a wrong driver forgot */
	list_for_each_entry_safe(b, n, &m->buffers, list) {
		dma_free_coherent(m->mdev.device, PAGE_SIZE, b->mem, b->dma);
		kfree(b);
	}
}

static int mock_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct mock *m;
	int r;

	r = pcim_enable_device(pdev);
	if (r)
		return r;
	r = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (r)
		return r;
	/* As mlx5_core has it: a key's pages are large where memory is */
	dma_set_max_seg_size(&pdev->dev, SZ_2G);
	if (pci_resource_len(pdev, MOCK_BAR) < MOCK_DOORBELL + PAGE_SIZE)
		return -ENODEV;

	m = kvcalloc(1, sizeof(*m), GFP_KERNEL);
	if (!m)
		return -ENOMEM;
	r = ida_alloc(&mock_ids, GFP_KERNEL);
	if (r < 0)
		goto err_free;
	m->id = r;
	m->bar = pcim_iomap(pdev, MOCK_BAR, 0);
	r = m->bar ? mock_init(m, pdev) : -ENOMEM;
	if (r)
		goto err_exit;
	/* The driver has files below it */
	mock_debugfs(m);
	r = mock_add_adev(m);
	if (r)
		goto err_debugfs;

	return 0;

err_debugfs:
	debugfs_remove(m->debugfs);
err_exit:
	mock_exit(m);
	ida_free(&mock_ids, m->id);
err_free:
	kvfree(m);
	return r;
}

static void mock_remove(struct pci_dev *pdev)
{
	struct mock *m = to_mock(pci_get_drvdata(pdev));

	auxiliary_device_delete(&m->madev.adev);
	auxiliary_device_uninit(&m->madev.adev);
	debugfs_remove(m->debugfs);
	mock_exit(m);
	ida_free(&mock_ids, m->id);
	kvfree(m);
}

static const struct pci_device_id mock_id_table[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_REDHAT_QUMRANET, 0x1110) },	/* ivshmem */
	{ }
};

static struct pci_driver mock_driver = {
	.name = "mlx5_mock",
	.id_table = mock_id_table,
	.probe = mock_probe,
	.remove = mock_remove,
};
module_pci_driver(mock_driver);

MODULE_DESCRIPTION("Model of mlx5_core and its firmware, to test mlx5_vdpa");
MODULE_LICENSE("GPL");
