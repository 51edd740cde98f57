// SPDX-License-Identifier: GPL-2.0
/*
 * The data path: a thread takes what the driver made available in the transmit
 * queues, and gives each frame to the receive queue to which its address is
 * steered. A queue fetches descriptors before it uses them, so that its two
 * indices differ; what is fetched and not used when it ends is for its successor
 * to fetch again. Completions go the way of the device: an event from the queue's QP
 * uses up a receive descriptor of the QP that it is connected to, which writes
 * a completion (CQE), and if the driver armed the CQ, it is called back from an
 * interrupt.
 *
 * The doorbell page is memory, which cannot trap, so that the thread polls it. A
 * value there stands for a kick of any queue, since the next one replaces it; a
 * queue that becomes ready is looked at once without a kick.
 */
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/kthread.h>
#include <linux/virtio_byteorder.h>
#include <linux/virtio_ring.h>

#include "mock.h"

#define NO_KICK		0xffff
#define FRAME_MAX	65562
#define POLL_BUSY_US	50
#define POLL_IDLE_US	1000
#define IDLE_POLLS	200	/* that found nothing, until it polls less often */
#define TX_BUDGET	16	/* frames of a queue in a poll */

static int vq_access_key(struct mock *m, struct fw_vq *vq, u32 key, u64 addr,
			 void *buf, u32 len, bool write)
{
	struct fw_obj *o = container_of(vq, struct fw_obj, vq);
	int r = mem_access(m, o, key, addr, buf, len, write);

	if (r) {
		m->faults++;
		vq->state = MLX5_VIRTIO_NET_Q_OBJECT_STATE_ERR;
		dev_dbg(m->mdev.device, "queue %u: %s of %u at %#llx: %d\n", vq->index,
			write ? "write" : "read", len, addr, r);
	}

	return r;
}

/* Buffers, and tables of indirect descriptors */
static int vq_access(struct mock *m, struct fw_vq *vq, u64 addr, void *buf,
		     u32 len, bool write)
{
	return vq_access_key(m, vq, vq->mkey, addr, buf, len, write);
}

/* The queue's own table and rings, which can have a key of their own */
static int vq_access_ring(struct mock *m, struct fw_vq *vq, u64 addr, void *buf,
			  u32 len, bool write)
{
	return vq_access_key(m, vq, vq->desc_mkey ?: vq->mkey, addr, buf, len, write);
}

static int vq_read16(struct mock *m, struct fw_vq *vq, u64 addr, u16 *val)
{
	__le16 le;
	int r = vq_access_ring(m, vq, addr, &le, sizeof(le), false);

	*val = le16_to_cpu(le);
	return r;
}

/* A ring that makes no sense is the driver's fault as much as a wrong address */
static int vq_broken(struct mock *m, struct fw_vq *vq)
{
	m->faults++;
	vq->state = MLX5_VIRTIO_NET_Q_OBJECT_STATE_ERR;
	return -EINVAL;
}

static int vq_walk(struct mock *m, struct fw_vq *vq, u64 table, u32 size,
		   u16 next, struct fw_chain *c, bool indirect)
{
	struct vring_desc d;
	u16 flags;
	int r;

	do {
		if (next >= size || c->n == ARRAY_SIZE(c->piece))
			return vq_broken(m, vq);
		r = indirect ? vq_access(m, vq, table + next * sizeof(d), &d, sizeof(d), false) :
		    vq_access_ring(m, vq, table + next * sizeof(d), &d, sizeof(d), false);
		if (r)
			return r;
		flags = __virtio16_to_cpu(true, d.flags);
		next = __virtio16_to_cpu(true, d.next);
		if (flags & VRING_DESC_F_INDIRECT) {
			if (indirect || flags & VRING_DESC_F_NEXT)
				return vq_broken(m, vq);
			return vq_walk(m, vq, __virtio64_to_cpu(true, d.addr),
				       __virtio32_to_cpu(true, d.len) / sizeof(d), 0, c, true);
		}
		c->piece[c->n].addr = __virtio64_to_cpu(true, d.addr);
		c->piece[c->n].len = __virtio32_to_cpu(true, d.len);
		c->piece[c->n++].write = flags & VRING_DESC_F_WRITE;
	} while (flags & VRING_DESC_F_NEXT);

	return 0;
}

/* Fetch what is available, as far as there is room for it */
static int vq_fetch(struct mock *m, struct fw_vq *vq)
{
	u16 idx;
	int r;

	if (vq->state != MLX5_VIRTIO_NET_Q_OBJECT_STATE_RDY)
		return 0;
	r = vq_read16(m, vq, vq->avail_addr + offsetof(struct vring_avail, idx), &idx);
	if (r)
		return r;
	if ((u16)(idx - vq->avail) > vq->size)
		return vq_broken(m, vq);
	/* The entries were written before the index */
	dma_rmb();
	for (; vq->nheads < FW_PREFETCH && vq->avail != idx; vq->avail++, vq->nheads++) {
		r = vq_read16(m, vq, vq->avail_addr +
			      offsetof(struct vring_avail, ring[vq->avail % vq->size]),
			      &vq->head[vq->avail % FW_PREFETCH]);
		if (r)
			return r;
	}

	return 0;
}

/* 1: the next chain is in @c; 0: there is none */
static int vq_pop(struct mock *m, struct fw_vq *vq, struct fw_chain *c)
{
	int r;

	r = vq_fetch(m, vq);
	if (r || !vq->nheads || vq->state != MLX5_VIRTIO_NET_Q_OBJECT_STATE_RDY)
		return r;
	c->head = vq->head[(u16)(vq->avail - vq->nheads) % FW_PREFETCH];
	vq->nheads--;
	c->n = 0;
	r = vq_walk(m, vq, vq->desc_addr, vq->size, c->head, c, false);

	return r ?: 1;
}

/* Copy from (or, @write, to) the buffers of a chain; how much, or an error */
static int vq_copy(struct mock *m, struct fw_vq *vq, struct fw_chain *c, void *buf,
		   u32 len, bool write)
{
	u32 done = 0, part;
	unsigned int i;
	int r;

	for (i = 0; i < c->n && done < len; i++) {
		if (c->piece[i].write != write)
			continue;
		part = min(c->piece[i].len, len - done);
		r = vq_access(m, vq, c->piece[i].addr, buf + done, part, write);
		if (r)
			return r;
		done += part;
	}

	return done;
}

static void cq_complete(struct mock *m, struct fw_obj *qp)
{
	struct fw_obj *o = qp->qp.cq;
	u32 nent, offset;
	struct mlx5_cqe64 *cqe;

	nent = 1 << o->cq.log_size;
	if (((o->cq.pi - be32_to_cpu(READ_ONCE(o->cq.db[0]))) & 0xffffff) >= nent) {
		fw_violation(m, "CQ %#x is full", o->id);
		return;
	}
	offset = (o->cq.pi & (nent - 1)) * sizeof(*cqe);
	cqe = mem_dma(m, be64_to_cpu(o->pas[offset >> o->cq.log_page]) +
		      (offset & ((1 << o->cq.log_page) - 1)));
	if (!cqe) {
		fw_violation(m, "CQ %#x is not mapped for DMA any more", o->id);
		return;
	}
	dma_wmb();
	WRITE_ONCE(cqe->op_own, MLX5_CQE_RESP_SEND << 4 |
		   (o->cq.pi >> o->cq.log_size & 1));
	o->cq.pi++;
}

/* Tell the driver, unless it has nothing posted; it looks at all that was used */
static void vq_notify(struct mock *m, struct fw_vq *vq)
{
	struct fw_obj *qp = fw_find(m, FW_QP, vq->qp->qp.remote);
	u16 flags, posted;

	if (vq_read16(m, vq, vq->avail_addr, &flags) ||
	    flags & VRING_AVAIL_F_NO_INTERRUPT)
		return;
	if (!qp || qp->qp.fw || qp->qp.remote != vq->qp->id) {
		fw_violation(m, "queue %u: its QP lost the other end", vq->index);
		return;
	}
	if (qp->pas_gone || qp->qp.cq->pas_gone)
		return;
	posted = be32_to_cpu(READ_ONCE(qp->qp.db[0])) - qp->qp.consumed;
	if (posted > 1U << qp->qp.log_size)
		fw_violation(m, "QP %#x of 2^%u receive descriptors has %u posted",
			     qp->id, qp->qp.log_size, posted);
	/* The receiver is not ready: try again later */
	vq->owed = !posted;
	if (vq->owed)
		return;
	qp->qp.consumed++;
	cq_complete(m, qp);
}

static int vq_push(struct mock *m, struct fw_vq *vq, struct fw_chain *c, u32 len)
{
	struct vring_used_elem elem = {
		.id = __cpu_to_virtio32(true, c->head), .len = __cpu_to_virtio32(true, len),
	};
	__le16 idx = cpu_to_le16(vq->used + 1);
	int r;

	r = vq_access_ring(m, vq, vq->used_addr +
			   offsetof(struct vring_used, ring[vq->used % vq->size]),
			   &elem, sizeof(elem), true);
	if (r)
		return r;
	dma_wmb();
	r = vq_access_ring(m, vq, vq->used_addr + offsetof(struct vring_used, idx), &idx,
			   sizeof(idx), true);
	if (r)
		return r;
	vq->used++;
	vq->counters->counter[0] += c->n;
	vq->counters->counter[1] += c->n;
	mb();	/* the index before the flag that wants an event */
	vq_notify(m, vq);

	return 0;
}

/* Steering */

static bool rule_matches(const struct fw_rule *rule, const u8 *frame, u32 len)
{
	const struct vlan_ethhdr *eth = (void *)frame;
	bool tag = len >= VLAN_ETH_HLEN && eth->h_vlan_proto == htons(ETH_P_8021Q);
	int i;

	for (i = 0; i < ETH_ALEN; i++)
		if ((frame[i] ^ rule->mac[i]) & rule->mac_mask[i])
			return false;
	if (!rule->match_tag)
		return true;
	if (tag != rule->tag)
		return false;

	return !tag || (ntohs(eth->h_vlan_TCI) & VLAN_VID_MASK) == rule->vid;
}

/*
 * rule, TIR, RQT, queue. The last byte of the source address stands in for the
 * hash that chooses one of a table. A rule that is stuck has those above it.
 */
static struct fw_vq *steer(struct mock *m, const u8 *frame, u32 len)
{
	struct fw_obj *o, *rqt = NULL;
	unsigned long id;

	xa_for_each(&m->obj[FW_RULE], id, o) {
		if ((rqt && o->stuck) || !rule_matches(&o->rule, frame, len))
			continue;
		rqt = o->rule.tir->uses[0];
		if (!o->stuck)
			break;
	}
	if (!rqt || !rqt->nuses)
		return NULL;

	return &rqt->uses[frame[2 * ETH_ALEN - 1] % rqt->nuses]->vq;
}

/* A frame without a buffer is lost, as on a wire */
static void deliver(struct mock *m, u8 *frame, u32 len)
{
	u8 hdr[12] = { [10] = 1 };	/* num_buffers */
	struct fw_chain *c = &m->rx;
	struct fw_vq *rx = steer(m, frame + sizeof(hdr), len);
	int r;

	if (!rx || vq_pop(m, rx, c) <= 0) {
		m->dropped++;
		return;
	}
	memcpy(frame + sizeof(hdr) - rx->hdr_len, hdr, rx->hdr_len);
	r = vq_copy(m, rx, c, frame + sizeof(hdr) - rx->hdr_len,
		    rx->hdr_len + len, true);
	if (r < 0 || vq_push(m, rx, c, r))
		return;
	m->frames++;
}

/*
 * @frame: room for the longer header before the frame itself. Leaves off in the
 * middle, so that commands find a queue that has more to do.
 */
static bool transmit(struct mock *m, struct fw_vq *tx, u8 *frame)
{
	struct fw_chain *c = &m->tx;
	bool worked = false;
	unsigned int n;
	int r;

	for (n = 0; vq_pop(m, tx, c) == 1; n++) {
		r = vq_copy(m, tx, c, frame + 12 - tx->hdr_len,
			    FRAME_MAX + tx->hdr_len, false);
		if (r < 0)
			break;
		worked = true;
		if (r >= tx->hdr_len + ETH_HLEN)
			deliver(m, frame, r - tx->hdr_len);
		if (vq_push(m, tx, c, 0))
			break;
		if (n == TX_BUDGET) {
			tx->look = true;
			break;
		}
	}

	return worked;
}

/* Completions */

static void cq_irq(struct irq_work *irq)
{
	struct fw_cq *cq = container_of(irq, struct fw_cq, irq);
	struct mlx5_core_cq *mcq = READ_ONCE(cq->mcq);
	struct mlx5_eqe eqe = {};

	if (!mcq)
		return;
	++mcq->arm_sn;
	mcq->comp(mcq, &eqe);
}

void vq_cq_init(struct fw_obj *o)
{
	init_irq_work(&o->cq.irq, cq_irq);
}

/* Armed: the sequence number is that of the next event */
static void cq_fire(struct mock *m, struct fw_obj *o)
{
	u32 arm = o->pas_gone ? 0 : be32_to_cpu(READ_ONCE(o->cq.db[1]));

	if (m->hold_irqs || !READ_ONCE(o->cq.mcq) || (arm >> 28 & 3) != (o->cq.events & 3) ||
	    (o->cq.pi & 0xffffff) == (arm & 0xffffff))
		return;
	o->cq.events++;
	irq_work_queue(&o->cq.irq);
}

/* Those that were held back come at once */
void vq_hold_irqs(struct mock *m, bool hold)
{
	struct fw_obj *o;
	unsigned long id;

	mutex_lock(&m->lock);
	m->hold_irqs = hold;
	xa_for_each(&m->obj[FW_CQ], id, o)
		cq_fire(m, o);
	mutex_unlock(&m->lock);
}

static bool vq_poll(struct mock *m, u8 *frame)
{
	void __iomem *bell = m->bar + MLX5_CAP64_DEV_VDPA_EMULATION(&m->mdev,
								    doorbell_bar_offset);
	bool kicked = false, worked = false, ready = false;
	struct fw_obj *o;
	unsigned long id;

	if (ioread16(bell) != NO_KICK) {
		iowrite16(NO_KICK, bell);
		kicked = true;
		mb();	/* before it looks at the rings */
	}

	mutex_lock(&m->lock);
	xa_for_each(&m->obj[FW_VQ], id, o) {
		if (o->vq.state != MLX5_VIRTIO_NET_Q_OBJECT_STATE_RDY)
			continue;
		ready = true;
		if (o->vq.owed)
			vq_notify(m, &o->vq);
		if (!kicked && !o->vq.look)
			continue;
		o->vq.look = false;
		if (o->vq.index % 2)
			worked |= transmit(m, &o->vq, frame);
		else
			vq_fetch(m, &o->vq);
	}
	xa_for_each(&m->obj[FW_CQ], id, o)
		cq_fire(m, o);
	mem_check_stuck(m);
	WRITE_ONCE(m->ready, ready);
	mutex_unlock(&m->lock);

	return worked || kicked;
}

int vq_thread(void *data)
{
	struct mock *m = data;
	unsigned int idle = 0;
	u8 *frame;

	frame = kvmalloc(12 + FRAME_MAX, GFP_KERNEL);
	while (!kthread_should_stop()) {
		wait_event_interruptible(m->wait, kthread_should_stop() || READ_ONCE(m->ready));
		if (frame && vq_poll(m, frame))
			idle = 0;
		else if (idle < IDLE_POLLS)
			idle++;
		m->rounds++;
		if (idle < IDLE_POLLS)
			usleep_range(POLL_BUSY_US, 2 * POLL_BUSY_US);
		else
			usleep_range(POLL_IDLE_US, 2 * POLL_IDLE_US);
	}
	kvfree(frame);

	return 0;
}
