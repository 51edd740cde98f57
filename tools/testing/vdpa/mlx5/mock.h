/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A model of what mlx5_core and the firmware behind it are to mlx5_vdpa.
 *
 * core.c	the entry points of mlx5_core that mlx5_vdpa imports, the PCI
 *		device below them, and debugfs
 * cmd.c	the firmware's objects, and the commands on them
 * mem.c	memory keys: what they are made of, and access through them
 * vq.c		virtqueues, steering and completions
 *
 * Terms: a violation is something that a correct driver does not do; it fails,
 * and is counted. A lint is a violation of which it is not known whether the
 * firmware minds. A fault is an access to memory that a key does not permit; it
 * is what a key is for, so that it is counted apart.
 *
 * An object is stuck if it could not be destroyed because a failure was asked
 * for: it, and what it uses, stays until the driver has given up the function,
 * and is neither counted as alive nor as a violation. It goes on doing what it
 * did, and the driver has to see to it that this does no harm.
 */
#ifndef MLX5_MOCK_H
#define MLX5_MOCK_H

#include <linux/iommu.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/mlx5/cq.h>
#include <linux/mlx5/device.h>
#include <linux/mlx5/driver.h>
#include <linux/mlx5/fs.h>
#include <linux/mlx5/mlx5_ifc.h>
#include <linux/mlx5/mlx5_ifc_vdpa.h>
#include <linux/mlx5/qp.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/wait.h>
#include <linux/xarray.h>

/* What the firmware has, and not each kernel a name for */
struct mlx5_ifc_fw_virtio_emulation_cap_bits {
	u8 before[0xd3];
	u8 desc_group_mkey_supported[0x1];
	u8 freeze_to_rdy_supported[0x1];
	u8 after[0x72b];
};

struct mlx5_ifc_fw_virtio_q_bits {
	u8 before[0x360];
	u8 desc_group_mkey[0x20];
	u8 after[0x80];
};

enum {
	FW_MODIFY_STATE = BIT(0),
	FW_MODIFY_ADDRS = BIT(6),
	FW_MODIFY_AVAIL = BIT(7),
	FW_MODIFY_USED = BIT(8),
	FW_MODIFY_VERSION = BIT(10),
	FW_MODIFY_MKEY = BIT(11),
	FW_MODIFY_FEATURES = BIT(12),
	FW_MODIFY_DESC_MKEY = BIT(14),
};

/* ... nor a prototype */
int mlx5_vector2eqn(struct mlx5_core_dev *dev, int vector, int *eqn);
int mlx5_comp_eqn_get(struct mlx5_core_dev *dev, u16 vector, int *eqn);

enum fw_kind {
	FW_UCTX,
	FW_PD,
	FW_TD,
	FW_TIS,
	FW_TIR,
	FW_RQT,
	FW_UMEM,
	FW_MKEY,
	FW_CQ,
	FW_QP,
	FW_VQ,
	FW_COUNTERS,
	FW_TABLE,
	FW_RULE,
	FW_MAC,
	FW_KINDS
};

/* Access mode of the null key, which no command creates */
#define FW_MKEY_NULL 0xff

/* Descriptors that a queue fetches before it has a use for them */
#define FW_PREFETCH 4

struct fw_mkey {
	u32 pd;
	u8 variant;		/* mkey_7_0 */
	u8 mode;		/* MLX5_MKC_ACCESS_MODE_... */
	u8 log_page;
	bool lr;
	bool lw;
	bool length64;
	u64 start;
	u64 len;
	u32 n;			/* entries */
	union {
		__be64 *mtt;
		struct mlx5_klm *klm;
	};
};

struct fw_cq {
	struct mlx5_core_cq *mcq;	/* NULL: gone from the event queue */
	u8 log_page;
	u8 log_size;
	__be32 *db;
	u32 pi;
	u32 events;
	struct irq_work irq;
};

struct fw_qp {
	u8 state;		/* MLX5_QPC_STATE_... */
	bool fw;		/* the end that the firmware uses */
	u32 remote;
	struct fw_obj *cq;
	__be32 *db;
	u8 log_size;
	u16 consumed;
};

/* A chain of descriptors: what is left of it, as one range of addresses a piece */
struct fw_chain {
	u16 head;
	unsigned int n;
	struct {
		u64 addr;
		u32 len;
		bool write;
	} piece[256];
};

struct fw_vq {
	u8 state;		/* MLX5_VIRTIO_NET_Q_OBJECT_STATE_... */
	u16 index;
	u16 size;
	u16 avail;		/* the next to fetch */
	u16 used;		/* the next to use */
	u16 head[FW_PREFETCH];	/* what is fetched and not used */
	u8 nheads;
	u8 hdr_len;
	bool look;		/* became ready: there may be something already */
	bool owed;		/* an event that the driver had no room for */
	u32 mkey;		/* 0: none yet, it reaches nothing */
	u32 desc_mkey;		/* for the rings; 0: mkey */
	u32 pd;
	u64 desc_addr;
	u64 avail_addr;
	u64 used_addr;
	struct fw_obj *qp;
	struct fw_obj *counters;
};

struct fw_rule {
	u8 mac[ETH_ALEN];
	u8 mac_mask[ETH_ALEN];
	bool match_tag;
	bool tag;
	u16 vid;
	struct fw_obj *tir;
};

struct fw_obj {
	enum fw_kind kind;
	u32 id;
	u16 uid;		/* of the owner; 0: the kernel */
	struct fw_obj *uctx;	/* ... which it keeps alive */
	bool stuck;
	bool told;		/* stuck, and the driver was found out already */
	unsigned int refs;
	unsigned int nuses;
	struct fw_obj **uses;
	/* Memory of the driver that it has: pages, and a doorbell record */
	__be64 *pas;
	unsigned int npas;
	u64 dbr;
	bool pas_gone;
	union {
		struct fw_mkey mkey;
		struct fw_cq cq;
		struct fw_qp qp;
		struct fw_vq vq;
		struct fw_rule rule;
		u64 umem_size;
		u32 rqt_max;
		u64 counter[2];	/* received, completed */
		u8 mac[ETH_ALEN];
	};
};

#define FW_OPCODES 0x1000

/*
 * How many commands silicon is reckoned to work on at once: as many of those about
 * virtqueues as mlx5_core lets it have, half of its 31 slots
 */
#define FW_SLOTS 16

/* How late it is: in commands one after the other, and as long as they take */
struct fw_clock {
	u64 chain;
	u64 us;
};

struct mock {
	int id;			/* among the models */
	struct mlx5_core_dev mdev;
	struct mlx5_adev madev;
	struct mlx5_hca_cap gen_cap;
	struct mlx5_hca_cap vdpa_cap;
	struct mlx5_uars_page uar;
	void __iomem *bar;
	struct iommu_domain *domain;	/* NULL: DMA addresses are physical ones */
	struct atomic_notifier_head events;
	struct dentry *debugfs;
	struct task_struct *thread;
	struct kthread_worker *worker;	/* commands that nobody waits for */
	struct kthread_work async_work;
	atomic_t async_ctxs;	/* that were not cleaned up yet */
	spinlock_t async_lock;	/* the next two */
	unsigned int nasync;	/* how many of them there are ... */
	struct list_head async;	/* ... and those that were not begun */
	struct wait_queue_head wait;
	u32 ready;		/* a virtqueue can be, since the lock was held */

	struct mutex lock;	/* all that follows */
	struct fw_chain tx, rx;	/* of the frame under way */
	struct xarray obj[FW_KINDS];
	u32 next_id[FW_KINDS];
	unsigned int alive[FW_KINDS];
	unsigned int nstuck;
	struct fw_obj *null_mkey;
	struct list_head buffers;
	unsigned int nbuffers;
	unsigned int nnotifiers;
	unsigned int nuars;
	bool link;
	u16 mtu;
	u8 default_mac[ETH_ALEN];

	/* Faults on demand; 0: none */
	u32 fail_nth;
	u32 fail_opcode;
	u32 fail_more;
	u32 delay_us;
	bool hold_irqs;
	bool lost;		/* the command that is being executed never is */
	bool inject;		/* ... or fails */
	u32 failed;		/* opcode of the last that was made to fail */

	u32 commands[FW_OPCODES];
	u64 total;
	struct fw_clock now;
	const struct fw_clock *issued;	/* the command is not one that is waited for */
	u32 latency_us;		/* of each command, by this clock */
	u64 slot[FW_SLOTS];	/* until when it has one, by the same */
	u32 max_async;		/* that are taken at once */
	u32 async_us;		/* how late they are, at least */
	bool async_all;		/* none ends before no more have come for a while */
	u32 issue_err;		/* with which none is taken, if not 0 ... */
	u32 async_err;		/* ... and with which they end */
	bool check_pins;
	u64 violations;
	u64 lints;		/* of these */
	char violation[160];
	u64 faults;
	u64 bytes;
	u64 frames;
	u64 dropped;
	u64 rounds;
};

static inline struct mock *to_mock(struct mlx5_core_dev *mdev)
{
	return container_of(mdev, struct mock, mdev);
}

/* cmd.c; the caller holds the lock. What has no other type is a status. */
__printf(2, 3) void fw_violation(struct mock *m, const char *fmt, ...);
__printf(2, 3) void fw_lint(struct mock *m, const char *fmt, ...);
u8 fw_begin(struct mock *m, u16 opcode);
bool fw_destroys(const void *in);
u8 fw_cmd(struct mock *m, void *in, int inlen, void *out, int outlen);
struct fw_obj *fw_find(struct mock *m, enum fw_kind kind, u32 id);
u8 fw_create(struct mock *m, enum fw_kind kind, u16 uid, struct fw_obj **new);
u8 fw_use(struct mock *m, struct fw_obj *o, enum fw_kind kind, u32 id,
	  struct fw_obj **used);
void fw_unuse(struct fw_obj *o, struct fw_obj *used);
u8 fw_destroy(struct mock *m, enum fw_kind kind, u32 id, u16 uid);
struct fw_obj *fw_buffer_user(struct mock *m, u64 dma);
void fw_free_stuck(struct mock *m);
void fw_free_all(struct mock *m);
int fw_errno(u8 status);
extern const char * const fw_kind_name[FW_KINDS];

/* mem.c */
u8 mem_create_mkey(struct mock *m, void *in, int inlen, void *out);
u8 mem_destroy_mkey(struct mock *m, u32 id, u16 uid);
/* Translation entries of all keys that are alive */
u64 mem_entries(struct mock *m);
int mem_null_mkey(struct mock *m);
void mem_check_stuck(struct mock *m);
int mem_access(struct mock *m, struct fw_obj *q, u32 key, u64 addr, void *buf,
	       u32 len, bool write);
void *mem_dma(struct mock *m, u64 addr);

/* vq.c */
int vq_thread(void *data);
void vq_cq_init(struct fw_obj *o);
void vq_hold_irqs(struct mock *m, bool hold);

#endif
