// SPDX-License-Identifier: GPL-2.0
/*
 * The firmware: objects, and the commands that create, change and destroy them.
 *
 * An object belongs to a uid and is found by its number, which is not used
 * again soon, so that a stale one is noticed. It cannot be destroyed while
 * another one uses it. A command that fails leaves everything as it was.
 */
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "mock.h"

const char * const fw_kind_name[FW_KINDS] = {
	[FW_UCTX] = "uctx",
	[FW_PD] = "pd",
	[FW_TD] = "td",
	[FW_TIS] = "tis",
	[FW_TIR] = "tir",
	[FW_RQT] = "rqt",
	[FW_UMEM] = "umem",
	[FW_MKEY] = "mkey",
	[FW_CQ] = "cq",
	[FW_QP] = "qp",
	[FW_VQ] = "virtio_net_q",
	[FW_COUNTERS] = "virtio_q_counters",
	[FW_TABLE] = "flow_table",
	[FW_RULE] = "flow_rule",
	[FW_MAC] = "l2_table_entry",
};

static __printf(3, 0) void
fw_complain(struct mock *m, const char *what, const char *fmt, va_list args)
{
	lockdep_assert_held(&m->lock);

	vscnprintf(m->violation, sizeof(m->violation), fmt, args);
	m->violations++;
	dev_notice(m->mdev.device, "%s: %s\n", what, m->violation);
}

void fw_violation(struct mock *m, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fw_complain(m, "violation", fmt, args);
	va_end(args);
}

void fw_lint(struct mock *m, const char *fmt, ...)
{
	va_list args;

	m->lints++;
	va_start(args, fmt);
	fw_complain(m, "violation (lint)", fmt, args);
	va_end(args);
}

int fw_errno(u8 status)
{
	switch (status) {
	case MLX5_CMD_STAT_OK:
		return 0;
	case MLX5_CMD_STAT_LIM_ERR:
		return -ENOMEM;
	case MLX5_CMD_STAT_RES_BUSY:
		return -EBUSY;
	case MLX5_CMD_STAT_INT_ERR:
	case MLX5_CMD_STAT_BAD_INP_LEN_ERR:
	case MLX5_CMD_STAT_BAD_OUTP_LEN_ERR:
		return -EIO;
	default:
		return -EINVAL;
	}
}

/* Objects */

struct fw_obj *fw_find(struct mock *m, enum fw_kind kind, u32 id)
{
	return xa_load(&m->obj[kind], id);
}

u8 fw_create(struct mock *m, enum fw_kind kind, u16 uid, struct fw_obj **new)
{
	struct fw_obj *uctx = uid ? fw_find(m, FW_UCTX, uid) : NULL;
	struct fw_obj *o;

	if (uid && !uctx) {
		fw_violation(m, "%s of uid %u, which does not exist",
			     fw_kind_name[kind], uid);
		return MLX5_CMD_STAT_BAD_RES_ERR;
	}

	o = kzalloc(sizeof(*o), GFP_KERNEL);
	if (!o)
		return MLX5_CMD_STAT_LIM_ERR;
	o->kind = kind;
	o->uid = uid;
	/* 16 bits: the least that the field of any kind has */
	if (xa_alloc_cyclic(&m->obj[kind], &o->id, o, XA_LIMIT(1, U16_MAX),
			    &m->next_id[kind], GFP_KERNEL) < 0) {
		kfree(o);
		return MLX5_CMD_STAT_LIM_ERR;
	}
	if (uctx) {
		o->uctx = uctx;
		uctx->refs++;
	}
	m->alive[kind]++;
	*new = o;

	return 0;
}

/* @o uses another one, which must belong to the same owner, or be the null key */
u8 fw_use(struct mock *m, struct fw_obj *o, enum fw_kind kind, u32 id,
	  struct fw_obj **used)
{
	struct fw_obj *dep = fw_find(m, kind, id);
	struct fw_obj **uses;

	if (!dep || (dep->uid != o->uid && dep != m->null_mkey)) {
		fw_violation(m, "%s of uid %u uses %s %#x, which %s",
			     fw_kind_name[o->kind], o->uid, fw_kind_name[kind],
			     id, dep ? "has another owner" : "does not exist");
		return MLX5_CMD_STAT_BAD_RES_ERR;
	}

	if (is_power_of_2(o->nuses) || !o->nuses) {
		uses = krealloc_array(o->uses, max(1U, 2 * o->nuses),
				      sizeof(*uses), GFP_KERNEL);
		if (!uses)
			return MLX5_CMD_STAT_LIM_ERR;
		o->uses = uses;
	}
	o->uses[o->nuses++] = dep;
	dep->refs++;
	if (used)
		*used = dep;

	return 0;
}

/* One of its uses of another one ends */
void fw_unuse(struct fw_obj *o, struct fw_obj *used)
{
	unsigned int i;

	for (i = 0; i < o->nuses && o->uses[i] != used; i++)
		;
	if (i == o->nuses)
		return;
	o->uses[i] = o->uses[--o->nuses];
	used->refs--;
}

static void fw_unuse_all(struct fw_obj *o)
{
	while (o->nuses)
		o->uses[--o->nuses]->refs--;
}

static void fw_free(struct mock *m, struct fw_obj *o)
{
	fw_unuse_all(o);
	if (o->uctx)
		o->uctx->refs--;
	kfree(o->uses);
	xa_erase(&m->obj[o->kind], o->id);
	if (o->kind == FW_MKEY)
		kvfree(o->mkey.mtt);
	if (o->kind == FW_CQ)
		irq_work_sync(&o->cq.irq);
	kfree(o->pas);
	if (o->stuck)
		m->nstuck--;
	else
		m->alive[o->kind]--;
	kfree(o);
}

static void fw_mark_stuck(struct mock *m, struct fw_obj *o)
{
	unsigned int i;

	if (o->stuck)
		return;
	o->stuck = true;
	m->nstuck++;
	m->alive[o->kind]--;
	for (i = 0; i < o->nuses; i++)
		fw_mark_stuck(m, o->uses[i]);
	if (o->uctx)
		fw_mark_stuck(m, o->uctx);
}

/* Keys in use, and contexts that own something: who knows how the firmware has it */
static bool fw_use_is_lint(enum fw_kind kind)
{
	return kind == FW_MKEY || kind == FW_UCTX;
}

u8 fw_destroy(struct mock *m, enum fw_kind kind, u32 id, u16 uid)
{
	struct fw_obj *o = fw_find(m, kind, id);

	if (!o || o->uid != uid) {
		fw_violation(m, "uid %u destroys %s %#x, which %s", uid,
			     fw_kind_name[kind], id,
			     o ? "has another owner" : "does not exist");
		return MLX5_CMD_STAT_BAD_RES_ERR;
	}
	if (o->refs) {
		if (!o->stuck && fw_use_is_lint(kind))
			fw_lint(m, "%s %#x is destroyed in use", fw_kind_name[kind], id);
		else if (!o->stuck)
			fw_violation(m, "%s %#x is destroyed in use",
				     fw_kind_name[kind], id);
		return MLX5_CMD_STAT_RES_BUSY;
	}
	if (m->inject) {
		fw_mark_stuck(m, o);
		return MLX5_CMD_STAT_INT_ERR;
	}
	fw_free(m, o);

	return 0;
}

/* Copy the addresses of @n pages that the driver gives to an object */
static u8 fw_set_pas(struct fw_obj *o, const void *pas, unsigned int n)
{
	o->pas = kmemdup(pas, n * sizeof(*o->pas), GFP_KERNEL);
	o->npas = o->pas ? n : 0;

	return o->pas ? 0 : MLX5_CMD_STAT_LIM_ERR;
}

/* Who has the driver's page at this DMA address? */
struct fw_obj *fw_buffer_user(struct mock *m, u64 dma)
{
	static const enum fw_kind kinds[] = { FW_CQ, FW_QP, FW_UMEM };
	struct fw_obj *o;
	unsigned long id;
	unsigned int i, p;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		xa_for_each(&m->obj[kinds[i]], id, o) {
			if (o->dbr && (o->dbr & PAGE_MASK) == dma)
				return o;
			for (p = 0; p < o->npas; p++)
				if ((be64_to_cpu(o->pas[p]) & PAGE_MASK) == dma)
					return o;
		}
	}

	return NULL;
}

/* Users before what they use; the null key is there for good */
static void fw_free_unused(struct mock *m, bool stuck)
{
	struct fw_obj *o;
	unsigned long id;
	bool again;
	int kind;

	do {
		again = false;
		for (kind = 0; kind < FW_KINDS; kind++) {
			xa_for_each(&m->obj[kind], id, o) {
				if (stuck && (!o->stuck || o == m->null_mkey))
					continue;
				if (o->refs && kind != FW_MAC)
					continue;
				fw_free(m, o);
				again = true;
			}
		}
	} while (again);
}

/* The driver has given up the function, which ends what could not be destroyed */
void fw_free_stuck(struct mock *m)
{
	fw_free_unused(m, true);
}

void fw_free_all(struct mock *m)
{
	fw_free_unused(m, false);
}

/* Commands */

/*
 * A command begins when the driver issues it, knowing what it has waited for, and
 * ends so much later. What is in flight together takes its time together, as long as
 * there are slots.
 */
static void fw_pass_time(struct mock *m)
{
	const struct fw_clock *begin = m->issued ?: &m->now;
	u64 *slot = &m->slot[0];
	int i;

	for (i = 1; i < FW_SLOTS; i++)
		if (m->slot[i] < *slot)
			slot = &m->slot[i];
	*slot = max(*slot, begin->us) + m->latency_us;
	m->now.us = max(m->now.us, *slot);
	m->now.chain = max(m->now.chain, begin->chain + 1);
}

/* Every command passes here: it is counted, delayed, or chosen to fail */
u8 fw_begin(struct mock *m, u16 opcode)
{
	lockdep_assert_held(&m->lock);

	mem_check_stuck(m);
	fw_pass_time(m);
	m->inject = m->lost;
	m->total++;
	if (opcode < FW_OPCODES)
		m->commands[opcode]++;
	if (m->delay_us)
		usleep_range(m->delay_us, m->delay_us + 10);
	if (m->fail_nth && (!m->fail_opcode || m->fail_opcode == opcode) &&
	    !--m->fail_nth) {
		if (m->fail_more) {
			m->fail_more--;
			m->fail_nth = 1;
		}
		m->inject = true;
		m->failed = opcode;
		dev_info(m->mdev.device, "command %#x is made to fail\n", opcode);
	}

	return m->inject ? MLX5_CMD_STAT_INT_ERR : 0;
}

/* Create an object that is nothing but its number */
#define FW_CREATE_PLAIN(m, kind, uid, out_struct, out, field)			\
({										\
	struct fw_obj *__o;							\
	u8 __status = fw_create(m, kind, uid, &__o);				\
										\
	if (!__status)								\
		MLX5_SET(out_struct, out, field, __o->id);			\
	__status;								\
})

/* ... or that uses one other */
static u8 fw_create_user(struct mock *m, enum fw_kind kind, u16 uid,
			 enum fw_kind used, u32 used_id, struct fw_obj **new)
{
	u8 status = fw_create(m, kind, uid, new);

	if (status)
		return status;
	status = fw_use(m, *new, used, used_id, NULL);
	if (status)
		fw_destroy(m, kind, (*new)->id, uid);

	return status;
}

static u8 fw_create_tis(struct mock *m, void *in, void *out)
{
	void *tisc = MLX5_ADDR_OF(create_tis_in, in, ctx);
	struct fw_obj *o;
	u8 status;

	status = fw_create_user(m, FW_TIS, MLX5_GET(create_tis_in, in, uid), FW_TD,
				MLX5_GET(tisc, tisc, transport_domain), &o);
	if (!status)
		MLX5_SET(create_tis_out, out, tisn, o->id);

	return status;
}

static u8 fw_create_tir(struct mock *m, void *in, void *out)
{
	void *tirc = MLX5_ADDR_OF(create_tir_in, in, ctx);
	u16 uid = MLX5_GET(create_tir_in, in, uid);
	struct fw_obj *o;
	u8 status;

	status = fw_create_user(m, FW_TIR, uid, FW_RQT,
				MLX5_GET(tirc, tirc, indirect_table), &o);
	if (status)
		return status;
	status = fw_use(m, o, FW_TD, MLX5_GET(tirc, tirc, transport_domain), NULL);
	if (status)
		fw_destroy(m, FW_TIR, o->id, uid);
	else
		MLX5_SET(create_tir_out, out, tirn, o->id);

	return status;
}

/* A table of receive queues: as many as the command has, of those that exist */
static u8 fw_fill_rqt(struct mock *m, struct fw_obj *o, void *rqtc, int room)
{
	u32 i, n = MLX5_GET(rqtc, rqtc, rqt_actual_size);
	__be32 *list = MLX5_ADDR_OF(rqtc, rqtc, rq_num[0]);
	struct fw_obj before = *o;
	u8 status = 0;

	if (MLX5_GET(rqtc, rqtc, list_q_type) != MLX5_RQTC_LIST_Q_TYPE_VIRTIO_NET_Q ||
	    !is_power_of_2(n) || n * sizeof(*list) > room) {
		fw_violation(m, "RQT with %u queues in a command with room for %zu",
			     n, room / sizeof(*list));
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	}

	if (n > o->rqt_max) {
		fw_violation(m, "RQT with %u queues, and room for %u", n, o->rqt_max);
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	}

	o->uses = NULL;
	o->nuses = 0;
	for (i = 0; !status && i < n; i++)
		status = fw_use(m, o, FW_VQ, be32_to_cpu(list[i]) & 0xffffff, NULL);
	if (status) {
		swap(o->uses, before.uses);
		swap(o->nuses, before.nuses);
	}
	fw_unuse_all(&before);
	kfree(before.uses);

	return status;
}

static u8 fw_create_rqt(struct mock *m, void *in, int inlen, void *out)
{
	void *rqtc = MLX5_ADDR_OF(create_rqt_in, in, rqt_context);
	u16 uid = MLX5_GET(create_rqt_in, in, uid);
	struct fw_obj *o;
	u8 status;

	status = fw_create(m, FW_RQT, uid, &o);
	if (status)
		return status;
	o->rqt_max = MLX5_GET(rqtc, rqtc, rqt_max_size);
	status = fw_fill_rqt(m, o, rqtc, inlen - MLX5_ST_SZ_BYTES(create_rqt_in));
	if (status)
		fw_destroy(m, FW_RQT, o->id, uid);
	else
		MLX5_SET(create_rqt_out, out, rqtn, o->id);

	return status;
}

static u8 fw_modify_rqt(struct mock *m, void *in, int inlen)
{
	u32 rqtn = MLX5_GET(modify_rqt_in, in, rqtn);
	struct fw_obj *o = fw_find(m, FW_RQT, rqtn);

	if (!o || o->uid != MLX5_GET(modify_rqt_in, in, uid)) {
		fw_violation(m, "RQT %#x is modified and is not there", rqtn);
		return MLX5_CMD_STAT_BAD_RES_ERR;
	}

	/* The list of queues is the only thing that can change, and must be asked for */
	if (MLX5_GET64(modify_rqt_in, in, bitmask) != 1) {
		fw_violation(m, "RQT %#x is modified with the mask %#llx", rqtn,
			     MLX5_GET64(modify_rqt_in, in, bitmask));
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	}

	return fw_fill_rqt(m, o, MLX5_ADDR_OF(modify_rqt_in, in, ctx),
			   inlen - MLX5_ST_SZ_BYTES(modify_rqt_in));
}

static u8 fw_create_umem(struct mock *m, void *in, int inlen, void *out)
{
	void *umem = MLX5_ADDR_OF(create_umem_in, in, umem);
	u64 n = MLX5_GET64(umem, umem, num_of_mtt);
	u16 uid = MLX5_GET(create_umem_in, in, uid);
	struct fw_obj *o;
	u8 status;

	if (!uid && !MLX5_GET(cmd_hca_cap, m->gen_cap.cur, umem_uid_0)) {
		fw_violation(m, "UMEM of the kernel");
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	}

	if (!n || n > (inlen - MLX5_ST_SZ_BYTES(create_umem_in)) / sizeof(__be64)) {
		fw_violation(m, "UMEM of %llu pages in a command of %d bytes", n, inlen);
		return MLX5_CMD_STAT_BAD_INP_LEN_ERR;
	}
	status = fw_create(m, FW_UMEM, uid, &o);
	if (status)
		return status;
	status = fw_set_pas(o, MLX5_ADDR_OF(umem, umem, mtt), n);
	if (status) {
		fw_destroy(m, FW_UMEM, o->id, uid);
		return status;
	}
	o->umem_size = n << (MLX5_GET(umem, umem, log_page_size) +
			     MLX5_ADAPTER_PAGE_SHIFT);
	MLX5_SET(create_umem_out, out, umem_id, o->id);

	return 0;
}

static u8 fw_create_cq(struct mock *m, void *in, int inlen, void *out)
{
	void *cqc = MLX5_ADDR_OF(create_cq_in, in, cq_context);
	u8 log_page = MLX5_GET(cqc, cqc, log_page_size) + MLX5_ADAPTER_PAGE_SHIFT;
	u8 log_size = MLX5_GET(cqc, cqc, log_cq_size);
	size_t npages = DIV_ROUND_UP(64 << log_size, 1 << log_page);
	struct fw_obj *o;
	u8 status;

	if (npages * sizeof(__be64) > inlen - MLX5_ST_SZ_BYTES(create_cq_in) ||
	    MLX5_GET(cqc, cqc, uar_page) != m->uar.index || !m->nuars) {
		fw_violation(m, "CQ of 2^%u entries in a command of %d bytes, uar %u",
			     log_size, inlen, MLX5_GET(cqc, cqc, uar_page));
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	}
	status = fw_create(m, FW_CQ, MLX5_GET(create_cq_in, in, uid), &o);
	if (status)
		return status;

	o->cq.log_page = log_page;
	o->cq.log_size = log_size;
	o->dbr = MLX5_GET64(cqc, cqc, dbr_addr);
	o->cq.db = mem_dma(m, o->dbr);
	vq_cq_init(o);
	status = o->cq.db ? fw_set_pas(o, MLX5_ADDR_OF(create_cq_in, in, pas), npages) :
		 MLX5_CMD_STAT_BAD_PARAM_ERR;
	if (status)
		fw_destroy(m, FW_CQ, o->id, o->uid);
	else
		MLX5_SET(create_cq_out, out, cqn, o->id);

	return status;
}

/* The end of the driver has a receive queue, and where to tell what is in it */
static u8 fw_qp_set_rq(struct mock *m, struct fw_obj *o, void *in, int inlen)
{
	void *qpc = MLX5_ADDR_OF(create_qp_in, in, qpc);
	u8 log_page = MLX5_GET(qpc, qpc, log_page_size) + MLX5_ADAPTER_PAGE_SHIFT;
	size_t npages;

	o->qp.log_size = MLX5_GET(qpc, qpc, log_rq_size);
	npages = DIV_ROUND_UP(sizeof(struct mlx5_wqe_data_seg) << o->qp.log_size,
			      1 << log_page);
	if (npages * sizeof(__be64) > inlen - MLX5_ST_SZ_BYTES(create_qp_in)) {
		fw_violation(m, "QP with 2^%u receive descriptors in a command of %d bytes",
			     o->qp.log_size, inlen);
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	}
	o->dbr = MLX5_GET64(qpc, qpc, dbr_addr);
	o->qp.db = mem_dma(m, o->dbr);
	if (!o->qp.db)
		return MLX5_CMD_STAT_BAD_PARAM_ERR;

	return fw_set_pas(o, MLX5_ADDR_OF(create_qp_in, in, pas), npages) ?:
	       fw_use(m, o, FW_CQ, MLX5_GET(qpc, qpc, cqn_rcv), &o->qp.cq);
}

static u8 fw_create_qp(struct mock *m, void *in, int inlen, void *out)
{
	void *qpc = MLX5_ADDR_OF(create_qp_in, in, qpc);
	u16 uid = MLX5_GET(create_qp_in, in, uid);
	struct fw_obj *o;
	u8 status;

	status = fw_create_user(m, FW_QP, uid, FW_PD, MLX5_GET(qpc, qpc, pd), &o);
	if (status)
		return status;

	o->qp.state = MLX5_QPC_STATE_RST;
	o->qp.fw = MLX5_GET(qpc, qpc, rq_type) == MLX5_ZERO_LEN_RQ;
	if (!o->qp.fw)
		status = fw_qp_set_rq(m, o, in, inlen);
	if (status)
		fw_destroy(m, FW_QP, o->id, uid);
	else
		MLX5_SET(create_qp_out, out, qpn, o->id);

	return status;
}

static u8 fw_modify_qp(struct mock *m, void *in, u16 opcode)
{
	static const struct {
		u16 opcode;
		u8 from;
		u8 to;
	} transitions[] = {
		{ MLX5_CMD_OP_RST2INIT_QP, MLX5_QPC_STATE_RST, MLX5_QPC_STATE_INIT },
		{ MLX5_CMD_OP_INIT2RTR_QP, MLX5_QPC_STATE_INIT, MLX5_QPC_STATE_RTR },
		{ MLX5_CMD_OP_RTR2RTS_QP, MLX5_QPC_STATE_RTR, MLX5_QPC_STATE_RTS },
	};
	/* The commands have the number and the context in the same place */
	u32 qpn = MLX5_GET(rst2init_qp_in, in, qpn);
	void *qpc = MLX5_ADDR_OF(rst2init_qp_in, in, qpc);
	struct fw_obj *o = fw_find(m, FW_QP, qpn);
	int i;

	if (!o || o->uid != MLX5_GET(rst2init_qp_in, in, uid)) {
		fw_violation(m, "QP %#x is modified and is not there", qpn);
		return MLX5_CMD_STAT_BAD_RES_ERR;
	}
	if (opcode == MLX5_CMD_OP_2RST_QP) {
		o->qp.state = MLX5_QPC_STATE_RST;
		return 0;
	}
	for (i = 0; i < ARRAY_SIZE(transitions); i++) {
		if (transitions[i].opcode != opcode)
			continue;
		if (transitions[i].from != o->qp.state)
			break;
		if (opcode != MLX5_CMD_OP_RTR2RTS_QP)
			o->qp.remote = MLX5_GET(qpc, qpc, remote_qpn);
		o->qp.state = transitions[i].to;
		return 0;
	}

	fw_violation(m, "QP %#x in state %u gets command %#x", qpn, o->qp.state, opcode);
	return MLX5_CMD_STAT_BAD_QP_STATE_ERR;
}

/* The memory that a virtqueue gives to the firmware must be as large as promised */
static u8 fw_vq_use_umem(struct mock *m, struct fw_obj *o, u32 id, u32 size,
			 u32 a, u32 b)
{
	struct fw_obj *umem;
	u8 status = fw_use(m, o, FW_UMEM, id, &umem);

	if (status)
		return status;
	if (umem->umem_size >= size && size >= a * o->vq.size + b)
		return 0;
	fw_violation(m, "queue of %u has a UMEM of %llu, used %u, of %u needed",
		     o->vq.size, umem->umem_size, size, a * o->vq.size + b);

	return MLX5_CMD_STAT_BAD_PARAM_ERR;
}

#define VQ_USE_UMEM(n)								\
	fw_vq_use_umem(m, o, MLX5_GET(virtio_q, ctx, umem_##n##_id),		\
		       MLX5_GET(virtio_q, ctx, umem_##n##_size),		\
		       MLX5_CAP_DEV_VDPA_EMULATION(&m->mdev,			\
						   umem_##n##_buffer_param_a),	\
		       MLX5_CAP_DEV_VDPA_EMULATION(&m->mdev,			\
						   umem_##n##_buffer_param_b))

/* A queue may be created before there is a key for it */
static u8 fw_vq_use_key(struct mock *m, struct fw_obj *o, u32 key)
{
	struct fw_obj *mkey;
	u8 status;

	if (!key)
		return 0;
	status = fw_use(m, o, FW_MKEY, mlx5_mkey_to_idx(key), &mkey);
	if (status || mkey->mkey.pd == o->vq.pd)
		return status;
	fw_unuse(o, mkey);
	fw_lint(m, "queue %u: pd %#x of its key, and %#x", o->vq.index, mkey->mkey.pd,
		o->vq.pd);

	return MLX5_CMD_STAT_BAD_PARAM_ERR;
}

static u8 fw_vq_use_all(struct mock *m, struct fw_obj *o, void *obj, void *ctx)
{
	struct fw_obj *remote;
	u8 status;

	status = fw_use(m, o, FW_PD, o->vq.pd, NULL) ?:
		 fw_vq_use_key(m, o, o->vq.mkey) ?:
		 fw_vq_use_key(m, o, o->vq.desc_mkey) ?:
		 fw_use(m, o, FW_QP, MLX5_GET(virtio_q, ctx, event_qpn_or_msix),
			&o->vq.qp) ?:
		 fw_use(m, o, FW_COUNTERS, MLX5_GET(virtio_q, ctx, counter_set_id),
			&o->vq.counters) ?:
		 VQ_USE_UMEM(1) ?:
		 VQ_USE_UMEM(2) ?:
		 VQ_USE_UMEM(3);
	if (!status && o->vq.index % 2)
		status = fw_use(m, o, FW_TIS,
				MLX5_GET(virtio_net_q_object, obj, tisn_or_qpn), NULL);
	if (status)
		return status;

	remote = fw_find(m, FW_QP, o->vq.qp->qp.remote);
	if (o->vq.qp->qp.state != MLX5_QPC_STATE_RTS ||
	    !remote || remote->qp.state != MLX5_QPC_STATE_RTR) {
		fw_lint(m, "queue %u: QP in state %u", o->vq.index, o->vq.qp->qp.state);
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	}

	return 0;
}

/* struct virtio_net_hdr has num_buffers only in the modern device */
static void fw_vq_set_version(struct fw_vq *vq, void *ctx)
{
	vq->hdr_len = MLX5_GET(virtio_q, ctx, virtio_version_1_0) ? 12 : 10;
}

static void fw_vq_set_addrs(struct fw_vq *vq, void *ctx)
{
	vq->desc_addr = MLX5_GET64(virtio_q, ctx, desc_addr);
	vq->avail_addr = MLX5_GET64(virtio_q, ctx, available_addr);
	vq->used_addr = MLX5_GET64(virtio_q, ctx, used_addr);
}

static bool fw_has(struct mock *m, bool desc_group)
{
	void *cap = m->vdpa_cap.cur;

	return desc_group ? MLX5_GET(fw_virtio_emulation_cap, cap, desc_group_mkey_supported) :
	       MLX5_GET(fw_virtio_emulation_cap, cap, freeze_to_rdy_supported);
}

static u8 fw_create_vq(struct mock *m, void *in, void *out, u16 uid)
{
	void *obj = MLX5_ADDR_OF(create_virtio_net_q_in, in, obj_context);
	void *ctx = MLX5_ADDR_OF(virtio_net_q_object, obj, virtio_q_context);
	struct fw_obj *o, *other;
	struct fw_vq *vq;
	unsigned long id;
	u8 status;

	status = fw_create(m, FW_VQ, uid, &o);
	if (status)
		return status;

	vq = &o->vq;
	vq->state = MLX5_VIRTIO_NET_Q_OBJECT_STATE_INIT;
	vq->index = MLX5_GET(virtio_q, ctx, queue_index);
	vq->size = MLX5_GET(virtio_q, ctx, queue_size);
	vq->avail = MLX5_GET(virtio_net_q_object, obj, hw_available_index);
	vq->used = MLX5_GET(virtio_net_q_object, obj, hw_used_index);
	vq->mkey = MLX5_GET(virtio_q, ctx, virtio_q_mkey);
	vq->desc_mkey = MLX5_GET(fw_virtio_q, ctx, desc_group_mkey);
	vq->pd = MLX5_GET(virtio_q, ctx, pd);
	fw_vq_set_version(vq, ctx);
	fw_vq_set_addrs(vq, ctx);

	xa_for_each(&m->obj[FW_VQ], id, other)
		if (other != o && other->vq.index == vq->index) {
			fw_violation(m, "two queues %u", vq->index);
			status = MLX5_CMD_STAT_BAD_PARAM_ERR;
		}
	if (!is_power_of_2(vq->size) ||
	    MLX5_GET(virtio_q, ctx, virtio_q_type) !=
	    MLX5_VIRTIO_EMULATION_VIRTIO_QUEUE_TYPE_SPLIT ||
	    MLX5_GET(virtio_q, ctx, event_mode) != MLX5_VIRTIO_Q_EVENT_MODE_QP_MODE) {
		fw_violation(m, "queue %u has a size, type or event mode unknown here",
			     vq->index);
		status = MLX5_CMD_STAT_BAD_PARAM_ERR;
	}
	if (vq->desc_mkey && !fw_has(m, true)) {
		fw_violation(m, "queue %u has a key for its rings, unknown here", vq->index);
		status = MLX5_CMD_STAT_BAD_PARAM_ERR;
	}
	if (!status)
		status = fw_vq_use_all(m, o, obj, ctx);

	if (status)
		fw_destroy(m, FW_VQ, o->id, uid);
	else
		MLX5_SET(general_obj_out_cmd_hdr, out, obj_id, o->id);

	return status;
}

static bool fw_vq_may_become(struct mock *m, struct fw_vq *vq, u8 to)
{
	switch (vq->state) {
	case MLX5_VIRTIO_NET_Q_OBJECT_STATE_INIT:
		return to == MLX5_VIRTIO_NET_Q_OBJECT_STATE_RDY;
	case MLX5_VIRTIO_NET_Q_OBJECT_STATE_RDY:
		return to == MLX5_VIRTIO_NET_Q_OBJECT_STATE_SUSPEND;
	case MLX5_VIRTIO_NET_Q_OBJECT_STATE_SUSPEND:
		return to == MLX5_VIRTIO_NET_Q_OBJECT_STATE_RDY && fw_has(m, false);
	default:
		return false;
	}
}

/* All but the state only changes while the queue stands still */
static u8 fw_vq_check_modify(struct mock *m, struct fw_vq *vq, u64 select, u8 to)
{
	const u64 halted = FW_MODIFY_ADDRS | FW_MODIFY_AVAIL | FW_MODIFY_USED |
			   FW_MODIFY_VERSION | FW_MODIFY_FEATURES | FW_MODIFY_MKEY |
			   (fw_has(m, true) ? FW_MODIFY_DESC_MKEY : 0);

	if (select & ~(halted | FW_MODIFY_STATE)) {
		fw_violation(m, "queue %u: fields %#llx are modified", vq->index, select);
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	}
	/* It got there by itself: the driver cannot know */
	if (vq->state == MLX5_VIRTIO_NET_Q_OBJECT_STATE_ERR)
		return MLX5_CMD_STAT_BAD_RES_STATE_ERR;
	if ((select & halted && vq->state == MLX5_VIRTIO_NET_Q_OBJECT_STATE_RDY) ||
	    (select & FW_MODIFY_STATE && !fw_vq_may_become(m, vq, to))) {
		fw_violation(m, "queue %u from state %u to %u, fields %#llx", vq->index,
			     vq->state, to, select);
		return MLX5_CMD_STAT_BAD_RES_STATE_ERR;
	}

	return 0;
}

/* Another key: the new one before the old one is given up */
static u8 fw_vq_modify_key(struct mock *m, struct fw_obj *o, u32 *key, u32 new)
{
	u8 status = fw_vq_use_key(m, o, new);

	if (status)
		return status;
	if (*key)
		fw_unuse(o, fw_find(m, FW_MKEY, mlx5_mkey_to_idx(*key)));
	*key = new;

	return 0;
}

static void fw_vq_set_state(struct mock *m, struct fw_vq *vq, u8 to)
{
	vq->state = to;
	vq->look = true;
	WRITE_ONCE(m->ready, true);
	wake_up(&m->wait);
}

static u8 fw_modify_vq(struct mock *m, struct fw_obj *o, void *in)
{
	void *obj = MLX5_ADDR_OF(modify_virtio_net_q_in, in, obj_context);
	void *ctx = MLX5_ADDR_OF(virtio_net_q_object, obj, virtio_q_context);
	u64 select = MLX5_GET64(virtio_net_q_object, obj, modify_field_select);
	u8 to = MLX5_GET(virtio_net_q_object, obj, state);
	struct fw_vq *vq = &o->vq;
	u8 status;

	status = fw_vq_check_modify(m, vq, select, to);
	if (!status && select & FW_MODIFY_MKEY)
		status = fw_vq_modify_key(m, o, &vq->mkey,
					  MLX5_GET(virtio_q, ctx, virtio_q_mkey));
	if (!status && select & FW_MODIFY_DESC_MKEY)
		status = fw_vq_modify_key(m, o, &vq->desc_mkey,
					  MLX5_GET(fw_virtio_q, ctx, desc_group_mkey));
	if (status)
		return status;

	if (select & FW_MODIFY_ADDRS)
		fw_vq_set_addrs(vq, ctx);
	if (select & FW_MODIFY_VERSION)
		fw_vq_set_version(vq, ctx);
	/* What was fetched is fetched again from there */
	if (select & FW_MODIFY_AVAIL) {
		vq->avail = MLX5_GET(virtio_net_q_object, obj, hw_available_index);
		vq->nheads = 0;
	}
	if (select & FW_MODIFY_USED)
		vq->used = MLX5_GET(virtio_net_q_object, obj, hw_used_index);
	if (select & FW_MODIFY_STATE)
		fw_vq_set_state(m, vq, to);

	return 0;
}

static u8 fw_query_vq(struct fw_obj *o, void *out)
{
	void *obj = MLX5_ADDR_OF(query_virtio_net_q_out, out, obj_context);

	MLX5_SET(virtio_net_q_object, obj, state, o->vq.state);
	MLX5_SET(virtio_net_q_object, obj, hw_available_index, o->vq.avail);
	MLX5_SET(virtio_net_q_object, obj, hw_used_index, o->vq.used);

	return 0;
}

/* Of all capabilities those that are read anew for each device */
static u8 fw_query_caps(struct mock *m, void *in, void *out)
{
	u16 op_mod = MLX5_GET(query_hca_cap_in, in, op_mod);

	if (op_mod != (MLX5_CAP_VDPA_EMULATION << 1 | 1)) {
		fw_violation(m, "capabilities %#x are queried", op_mod);
		return MLX5_CMD_STAT_BAD_PARAM_ERR;
	}
	memcpy(MLX5_ADDR_OF(query_hca_cap_out, out, capability), m->vdpa_cap.cur,
	       MLX5_ST_SZ_BYTES(virtio_emulation_cap));

	return 0;
}

static u8 fw_query_counters(struct fw_obj *o, void *out)
{
	void *ctx = MLX5_ADDR_OF(query_virtio_q_counters_out, out, counters);

	MLX5_SET64(virtio_q_counters, ctx, received_desc, o->counter[0]);
	MLX5_SET64(virtio_q_counters, ctx, completed_desc, o->counter[1]);

	return 0;
}

/* How long a command and its answer are at least */
struct fw_lengths {
	u16 opcode;
	u16 in;
	u16 out;
};

#define LENGTHS(_opcode, _name)							\
	{ MLX5_CMD_OP_##_opcode, MLX5_ST_SZ_BYTES(_name##_in),			\
	  MLX5_ST_SZ_BYTES(_name##_out) }

static const struct fw_lengths fw_lengths[] = {
	LENGTHS(ALLOC_PD, alloc_pd),
	LENGTHS(DEALLOC_PD, dealloc_pd),
	LENGTHS(ALLOC_TRANSPORT_DOMAIN, alloc_transport_domain),
	LENGTHS(DEALLOC_TRANSPORT_DOMAIN, dealloc_transport_domain),
	LENGTHS(CREATE_UCTX, create_uctx),
	LENGTHS(DESTROY_UCTX, destroy_uctx),
	LENGTHS(QUERY_HCA_CAP, query_hca_cap),
	LENGTHS(QUERY_SPECIAL_CONTEXTS, query_special_contexts),
	LENGTHS(QUERY_VPORT_STATE, query_vport_state),
	LENGTHS(MODIFY_NIC_VPORT_CONTEXT, modify_nic_vport_context),
	LENGTHS(CREATE_TIS, create_tis),
	LENGTHS(DESTROY_TIS, destroy_tis),
	LENGTHS(CREATE_TIR, create_tir),
	LENGTHS(DESTROY_TIR, destroy_tir),
	LENGTHS(CREATE_RQT, create_rqt),
	LENGTHS(MODIFY_RQT, modify_rqt),
	LENGTHS(DESTROY_RQT, destroy_rqt),
	LENGTHS(CREATE_UMEM, create_umem),
	LENGTHS(DESTROY_UMEM, destroy_umem),
	LENGTHS(CREATE_MKEY, create_mkey),
	LENGTHS(DESTROY_MKEY, destroy_mkey),
	LENGTHS(CREATE_CQ, create_cq),
	LENGTHS(DESTROY_CQ, destroy_cq),
	LENGTHS(CREATE_QP, create_qp),
	LENGTHS(DESTROY_QP, destroy_qp),
	LENGTHS(2RST_QP, qp_2rst),
	LENGTHS(RST2INIT_QP, rst2init_qp),
	LENGTHS(INIT2RTR_QP, init2rtr_qp),
	LENGTHS(RTR2RTS_QP, rtr2rts_qp),
};

static const struct fw_lengths fw_vq_lengths[] = {
	LENGTHS(CREATE_GENERAL_OBJECT, create_virtio_net_q),
	LENGTHS(MODIFY_GENERAL_OBJECT, modify_virtio_net_q),
	LENGTHS(QUERY_GENERAL_OBJECT, query_virtio_net_q),
	LENGTHS(DESTROY_GENERAL_OBJECT, destroy_virtio_net_q),
};

static const struct fw_lengths fw_counters_lengths[] = {
	LENGTHS(CREATE_GENERAL_OBJECT, create_virtio_q_counters),
	LENGTHS(QUERY_GENERAL_OBJECT, query_virtio_q_counters),
	LENGTHS(DESTROY_GENERAL_OBJECT, destroy_virtio_q_counters),
};

static u8 fw_check_lengths(struct mock *m, const struct fw_lengths *l, int n,
			   u16 opcode, int inlen, int outlen)
{
	for (; n && l->opcode != opcode; n--)
		l++;
	if (!n) {
		fw_violation(m, "unknown command %#x", opcode);
		return MLX5_CMD_STAT_BAD_OP_ERR;
	}
	if (inlen >= l->in && outlen >= l->out)
		return 0;

	fw_violation(m, "command %#x of %d bytes, and %d for the answer", opcode,
		     inlen, outlen);
	return inlen < l->in ? MLX5_CMD_STAT_BAD_INP_LEN_ERR :
	       MLX5_CMD_STAT_BAD_OUTP_LEN_ERR;
}

static u8 fw_general_obj(struct mock *m, void *in, int inlen, void *out, int outlen,
			 u16 opcode)
{
	u16 type = MLX5_GET(general_obj_in_cmd_hdr, in, obj_type);
	u16 uid = MLX5_GET(general_obj_in_cmd_hdr, in, uid);
	u32 id = MLX5_GET(general_obj_in_cmd_hdr, in, obj_id);
	bool is_vq = type == MLX5_OBJ_TYPE_VIRTIO_NET_Q;
	enum fw_kind kind = is_vq ? FW_VQ : FW_COUNTERS;
	struct fw_obj *o;
	u8 status;

	if (!is_vq && type != MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS) {
		fw_violation(m, "general object of type %#x", type);
		return MLX5_CMD_STAT_BAD_OP_ERR;
	}

	if (is_vq)
		status = fw_check_lengths(m, fw_vq_lengths, ARRAY_SIZE(fw_vq_lengths),
					  opcode, inlen, outlen);
	else
		status = fw_check_lengths(m, fw_counters_lengths,
					  ARRAY_SIZE(fw_counters_lengths), opcode,
					  inlen, outlen);
	if (status)
		return status;
	if (opcode == MLX5_CMD_OP_DESTROY_GENERAL_OBJECT)
		return fw_destroy(m, kind, id, uid);
	if (opcode == MLX5_CMD_OP_CREATE_GENERAL_OBJECT && id)
		fw_violation(m, "%s is to be created with the number %#x",
			     fw_kind_name[kind], id);
	if (opcode == MLX5_CMD_OP_CREATE_GENERAL_OBJECT)
		return is_vq ? fw_create_vq(m, in, out, uid) :
		       FW_CREATE_PLAIN(m, FW_COUNTERS, uid, general_obj_out_cmd_hdr,
				       out, obj_id);

	o = fw_find(m, kind, id);
	if (!o || o->uid != uid) {
		fw_violation(m, "command %#x for %s %#x, which is not there",
			     opcode, fw_kind_name[kind], id);
		return MLX5_CMD_STAT_BAD_RES_ERR;
	}
	if (opcode == MLX5_CMD_OP_MODIFY_GENERAL_OBJECT)
		return fw_modify_vq(m, o, in);

	return is_vq ? fw_query_vq(o, out) : fw_query_counters(o, out);
}

static bool fw_is_general(u16 opcode)
{
	return opcode >= MLX5_CMD_OP_CREATE_GENERAL_OBJECT &&
	       opcode <= MLX5_CMD_OP_DESTROY_GENERAL_OBJECT;
}

/* To destroy: what is made to fail does so in fw_destroy() */
static u8 fw_cmd_destroy(struct mock *m, void *in, u16 opcode, u16 uid)
{
	switch (opcode) {
	case MLX5_CMD_OP_DEALLOC_PD:
		return fw_destroy(m, FW_PD, MLX5_GET(dealloc_pd_in, in, pd), uid);
	case MLX5_CMD_OP_DEALLOC_TRANSPORT_DOMAIN:
		return fw_destroy(m, FW_TD,
				  MLX5_GET(dealloc_transport_domain_in, in,
					   transport_domain), uid);
	case MLX5_CMD_OP_DESTROY_TIS:
		return fw_destroy(m, FW_TIS, MLX5_GET(destroy_tis_in, in, tisn), uid);
	case MLX5_CMD_OP_DESTROY_TIR:
		return fw_destroy(m, FW_TIR, MLX5_GET(destroy_tir_in, in, tirn), uid);
	case MLX5_CMD_OP_DESTROY_RQT:
		return fw_destroy(m, FW_RQT, MLX5_GET(destroy_rqt_in, in, rqtn), uid);
	case MLX5_CMD_OP_DESTROY_UMEM:
		return fw_destroy(m, FW_UMEM, MLX5_GET(destroy_umem_in, in, umem_id), uid);
	case MLX5_CMD_OP_DESTROY_MKEY:
		return mem_destroy_mkey(m, MLX5_GET(destroy_mkey_in, in, mkey_index), uid);
	case MLX5_CMD_OP_DESTROY_CQ:
		return fw_destroy(m, FW_CQ, MLX5_GET(destroy_cq_in, in, cqn), uid);
	case MLX5_CMD_OP_DESTROY_QP:
		return fw_destroy(m, FW_QP, MLX5_GET(destroy_qp_in, in, qpn), uid);
	case MLX5_CMD_OP_DESTROY_UCTX:
		return fw_destroy(m, FW_UCTX, MLX5_GET(destroy_uctx_in, in, uid), 0);
	}

	return MLX5_CMD_STAT_BAD_OP_ERR;
}

static bool fw_is_destroy(u16 opcode)
{
	switch (opcode) {
	case MLX5_CMD_OP_DEALLOC_PD:
	case MLX5_CMD_OP_DEALLOC_TRANSPORT_DOMAIN:
	case MLX5_CMD_OP_DESTROY_TIS:
	case MLX5_CMD_OP_DESTROY_TIR:
	case MLX5_CMD_OP_DESTROY_RQT:
	case MLX5_CMD_OP_DESTROY_UMEM:
	case MLX5_CMD_OP_DESTROY_MKEY:
	case MLX5_CMD_OP_DESTROY_CQ:
	case MLX5_CMD_OP_DESTROY_QP:
	case MLX5_CMD_OP_DESTROY_UCTX:
		return true;
	}

	return false;
}

/* Does the command destroy an object? */
bool fw_destroys(const void *in)
{
	u16 opcode = MLX5_GET(alloc_pd_in, in, opcode);

	return fw_is_destroy(opcode) || opcode == MLX5_CMD_OP_DESTROY_GENERAL_OBJECT;
}

u8 fw_cmd(struct mock *m, void *in, int inlen, void *out, int outlen)
{
	u16 opcode = MLX5_GET(alloc_pd_in, in, opcode);
	u16 uid = MLX5_GET(alloc_pd_in, in, uid);
	u8 injected = fw_begin(m, opcode);
	u8 status;

	if (fw_is_general(opcode))
		return injected && opcode != MLX5_CMD_OP_DESTROY_GENERAL_OBJECT ? injected :
		       fw_general_obj(m, in, inlen, out, outlen, opcode);
	status = fw_check_lengths(m, fw_lengths, ARRAY_SIZE(fw_lengths), opcode, inlen,
				  outlen);
	if (status)
		return status;
	if (fw_is_destroy(opcode))
		return fw_cmd_destroy(m, in, opcode, uid);
	/* A failure of the others is as if they had not been issued */
	if (injected)
		return injected;

	switch (opcode) {
	case MLX5_CMD_OP_ALLOC_PD:
		return FW_CREATE_PLAIN(m, FW_PD, uid, alloc_pd_out, out, pd);
	case MLX5_CMD_OP_ALLOC_TRANSPORT_DOMAIN:
		return FW_CREATE_PLAIN(m, FW_TD, uid, alloc_transport_domain_out,
				       out, transport_domain);
	case MLX5_CMD_OP_CREATE_UCTX:
		return FW_CREATE_PLAIN(m, FW_UCTX, 0, create_uctx_out, out, uid);
	case MLX5_CMD_OP_QUERY_HCA_CAP:
		return fw_query_caps(m, in, out);
	case MLX5_CMD_OP_QUERY_SPECIAL_CONTEXTS:
		MLX5_SET(query_special_contexts_out, out, null_mkey,
			 mlx5_idx_to_mkey(m->null_mkey->id));
		return 0;
	case MLX5_CMD_OP_QUERY_VPORT_STATE:
		MLX5_SET(query_vport_state_out, out, state, m->link);
		return 0;
	case MLX5_CMD_OP_MODIFY_NIC_VPORT_CONTEXT:
		m->mtu = MLX5_GET(modify_nic_vport_context_in, in, nic_vport_context.mtu);
		return 0;
	case MLX5_CMD_OP_CREATE_TIS:
		return fw_create_tis(m, in, out);
	case MLX5_CMD_OP_CREATE_TIR:
		return fw_create_tir(m, in, out);
	case MLX5_CMD_OP_CREATE_RQT:
		return fw_create_rqt(m, in, inlen, out);
	case MLX5_CMD_OP_MODIFY_RQT:
		return fw_modify_rqt(m, in, inlen);
	case MLX5_CMD_OP_CREATE_UMEM:
		return fw_create_umem(m, in, inlen, out);
	case MLX5_CMD_OP_CREATE_MKEY:
		return mem_create_mkey(m, in, inlen, out);
	case MLX5_CMD_OP_CREATE_CQ:
		return fw_create_cq(m, in, inlen, out);
	case MLX5_CMD_OP_CREATE_QP:
		return fw_create_qp(m, in, inlen, out);
	default:
		return fw_modify_qp(m, in, opcode);
	}
}
