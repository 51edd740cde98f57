#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""migrate-guest.py QEMU KERNEL INITRD SCENARIO [OPTION]...

Inside the guest of migrate.sh: boot a guest in QEMU that has a vDPA device for its
network card, take it through the steps of the scenario, and print what QEMU tells
the device in each step, from QEMU's trace. A line a step:

  step NAME map=N unmap=N mib=N other_map=N other_unmap=N resets=N pins=N ...

map and unmap are messages for the guest's RAM, mib is what they map; other messages
are for what belongs to QEMU, the rings of shadow virtqueues and the buffers of the
control virtqueue. pins is the number of pinned pages after the step. down is for how
many ms the device stood still: from the first reset or suspension to DRIVER_OK; for
the driver that is unbound and bound, how long that takes in the guest; in a migration, how
long stopping the guest at the source and starting it at the target take. queues is how
many of the guest's have moved frames. Lines that begin with "message" are the messages
themselves, without addresses of the host.

Scenarios:
  rebind   cold boot, driver unbound and bound, reboot
  cancel   a migration starts, so that the queues are shadowed, and is cancelled
  migrate  from one device to another one, in a second QEMU
  life     all of that, one after the other
  unplug   a PCI device with RAM of its own is unplugged while the guest does not run,
           and one like it takes its place
  again    the guest's processors are stopped, and started: a device that could not start at
           first gets another try
  retry    cancel, and then again
  fail     not all of the memory may be locked, so the device does not start

Options: mem=SIZE; iommu_platform and svq for what QEMU is told of the device; viommu for a
virtual IOMMU in front of it, of which the guest knows nothing, and viommu=used for one
that it uses; hotplug for a device that comes when the machine is complete; postcopy for
the second half of a migration; mlx5 for mlx5_vdpa with the model of its firmware, on as
many devices as vm.sh gives it, and desc_group for firmware that has a group for rings;
mq=N for N pairs of queues, which only mlx5_vdpa has, and as many processors; no_cvq for a
guest without a control virtqueue.

For a run without a guest around it, with fake-vhost-vdpa.c for the device: fake=LIBRARY,
features=BACKEND_FEATURES; refuse=SIZE for maps of that size that are refused,
refusals=N-M if not all of them are, but the Nth to the Mth; bound=N for the N-th time that a group is bound, which is refused; cvq for a control queue,
cvq=shared for one that has its rings in the group of the other ones. No frame comes back then,
and nothing gets pinned. After each step, what the device would reach is compared with what
the guest has, and with how much it has: lines that begin with "wrong".
"""
import atexit
import datetime
import glob
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

MAC = "52:54:00:12:34:56"
TRACES = ["vhost_vdpa_*", "vmstate_downtime_checkpoint"]
# What of a migration's downtime is spent on stopping and starting the device, and on
# more of that kind: the end, and the beginning
PARTS = {
    "src-vm-stopped": "src-downtime-start",
    "dst-precopy-bh-vm-started": "dst-precopy-bh-announced",
}
# What the card cannot have without a control virtqueue
NEED_CVQ = ["ctrl_vq", "ctrl_mac_addr", "ctrl_rx", "ctrl_rx_extra", "ctrl_vlan",
            "guest_announce", "ctrl_guest_offloads", "mq"]
# VHOST_BACKEND_F_IOTLB_PERSIST
PERSIST = 1 << 8
WORK = tempfile.mkdtemp()
MIGRATION = f"unix:{WORK}/migration"


def die(text):
    print("FAILED:", text)
    sys.exit(1)


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def wait(what, condition, seconds=1200, explain=None):
    for _ in range(seconds * 4):
        result = condition()
        if result:
            return result
        time.sleep(0.25)
    if explain:
        explain()
    return die(f"timeout: {what}")


def pins():
    """Pages that are pinned for somebody"""
    if OPTIONS.get("fake"):
        return 0
    write("/proc/sys/vm/stat_refresh", "1")
    with open("/proc/vmstat", encoding="ascii") as file:
        count = dict(line.split() for line in file)
    return int(count["nr_foll_pin_acquired"]) - int(count["nr_foll_pin_released"])


def pairs():
    """Pairs of queues"""
    return int(OPTIONS.get("mq", 1))


def parent(name):
    """The management device for the device d0, d1, ..."""
    if "mlx5" not in OPTIONS:
        return "vdpasim_net"
    functions = sorted(entry for entry in os.listdir("/sys/bus/pci/drivers/mlx5_mock")
                       if entry.startswith("0000:"))
    return "pci/" + functions[int(name[1:])]


def add_device(name):
    """A network device for vhost-vdpa; returns its node"""
    if OPTIONS.get("fake"):
        return "/dev/vhost-vdpa-fake"
    words = ["max_vqp", str(pairs())] if "mq" in OPTIONS else []
    subprocess.run(["vdpa", "dev", "add", "name", name, "mgmtdev", parent(name),
                    "mac", MAC] + words, check=True)
    path = "/sys/bus/vdpa/devices/" + name
    if os.path.exists(path + "/driver"):
        write(path + "/driver/unbind", name)
    write("/sys/bus/vdpa/drivers/vhost_vdpa/bind", name)
    return "/dev/" + next(entry for entry in os.listdir(path)
                          if entry.startswith("vhost-vdpa-"))


def remove_device(name):
    if not OPTIONS.get("fake"):
        subprocess.run(["vdpa", "dev", "del", name], check=True)


def check_models():
    """Is there something that a model of the firmware holds against the driver?"""
    for entry in sorted(glob.glob("/sys/kernel/debug/mlx5_mock*")):
        def read(name, folder=entry):
            with open(f"{folder}/{name}", encoding="ascii") as file:
                return file.read().strip()
        if read("violations") != "0":
            die(f"{entry}: {read('violations')} violations, the last: {read('violation')}")
        if read("faults") != "0":
            die(f"{entry}: {read('faults')} faults")


class Contents:
    """The guest's RAM as the device that takes notes was told to reach it, of a QEMU that
    maps RAM at the addresses that it has for the guest"""

    PAGE = 4096

    def __init__(self, guest, log):
        self.guest = guest
        self.log = log
        self.file = f"{log}.ram"
        self.told = []

    def maps(self):
        """What is mapped: address, size, and the address of it in QEMU. RAM goes in batches"""
        maps = {}
        batch = False
        with open(self.log, encoding="ascii") as file:
            for line in file:
                words = line.split()
                if words[0] in ("begin", "end"):
                    batch = words[0] == "begin"
                elif words[0] == "unmap":
                    maps.pop(tuple(words[1:4]), None)
                elif words[0] == "map" and batch and len(words) == 6:
                    maps[tuple(words[1:4])] = int(words[5], 16)
        return [(int(key[1], 16), int(key[2], 16), at) for key, at in maps.items()]

    def noted(self):
        """What the device itself has found wrong"""
        with open(self.log, encoding="ascii") as file:
            return [line.partition(" ")[2].strip() for line in file
                    if line.startswith("wrong: ")]

    def of_guest(self, address, size):
        """As its processor sees it"""
        self.guest.command("pmemsave", val=address, size=size, filename=self.file)
        with open(self.file, "rb") as file:
            return file.read()

    def of_device(self, at, size):
        """Nothing, if it is not QEMU's any more"""
        try:
            with open(f"/proc/{self.guest.process.pid}/mem", "rb", 0) as file:
                file.seek(at)
                return file.read(size)
        except OSError:
            return b""

    def same(self, address, at, size):
        """But for what changes meanwhile"""
        before = self.of_device(at, size)
        guest = self.of_guest(address, size)
        after = self.of_device(at, size)
        return len(before) == len(after) == size and all(
            a != b or a == c for a, b, c in zip(before, after, guest))

    def differences(self):
        for address, size, at in self.maps():
            guest, device = self.of_guest(address, size), self.of_device(at, size)
            for i in range(0, size, self.PAGE):
                if guest[i:i + self.PAGE] != device[i:i + self.PAGE] and not any(
                        self.same(address + i, at + i, self.PAGE) for _ in range(10)):
                    yield f"the device has something else for {address:x} than the guest"
                    break

    def ram(self):
        """The ranges of RAM that QEMU has for the guest, which the device should have"""
        flat = self.guest.command("human-monitor-command", **{"command-line": "info mtree -f"})
        view = next(view for view in flat.split("FlatView #") if 'AS "memory"' in view)
        for first, last in re.findall(r"^ +(\w+)-(\w+) \(prio -?\d+, (?:ram|rom)\):", view, re.M):
            first = -(-int(first, 16) // self.PAGE) * self.PAGE
            size = (int(last, 16) + 1) // self.PAGE * self.PAGE - first
            if size > 0:
                yield first, size

    def missing(self):
        """What the device that runs cannot reach"""
        maps = {(address, size) for address, size, _ in self.maps()}
        for address, size in self.ram():
            if not any(at <= address and address + size <= at + length for at, length in maps):
                yield f"the device does not have {address:x}, {size:x} bytes"

    def check(self):
        """What is wrong, once each"""
        found = self.noted()
        if self.guest.identity() and self.guest.process.poll() is None:
            found += self.differences()
            # QEMU never frees RAM that it has listed
            if self.guest.messages.running and "unplug" not in OPTIONS:
                found += self.missing()
        found = [what for what in dict.fromkeys(found) if what not in self.told]
        self.told += found
        return found


class Messages:
    """What QEMU has told a device, from its trace"""

    def __init__(self, path):
        self.path = path
        self.offset = 0
        self.batch = False
        self.checkpoints = {}
        self.running = False
        self.stopped = None
        self.contents = None

    def step(self, name, **more):
        """Print what has been added since the last step"""
        with open(self.path, encoding="utf-8", errors="replace") as file:
            file.seek(self.offset)
            lines = file.readlines()
            self.offset = file.tell()
        count = dict.fromkeys(("map", "unmap", "mib", "other_map", "other_unmap",
                               "resets", "down"), 0)
        for line in lines:
            self.count(name, line, count)
        count["mib"] = round(count["mib"] / 2 ** 20, 1)
        count["down"] = round(count["down"] * 1000, 2)
        count["pins"] = pins()
        count.update(more)
        print("step", name, *(f"{key}={value}" for key, value in count.items()),
              flush=True)
        for what in self.contents.check() if self.contents else []:
            print("wrong", what, flush=True)

    def count(self, name, line, count):
        # The second form of the time is that of older releases, which name no address
        # space either
        clock, seconds, event, rest = re.match(
            r"(?:(\S+)Z |\d+@(\d+\.\d+):)?(\S*) ?(.*)", line).groups()
        value = {"asid": "0"}
        value.update(re.findall(r"(\w+): ?(?:0x)?([0-9a-f]+)", rest))
        now = float(seconds or 0)
        if clock:
            now = datetime.datetime.fromisoformat(clock).timestamp()
        if event in ("vhost_vdpa_suspend", "vhost_vdpa_reset_device") and self.running:
            self.stopped, self.running = now, False
        elif event == "vhost_vdpa_add_status" and value["status"] == "4":
            print("message", name, "start")
            count["down"] += now - self.stopped if self.stopped else 0
            self.stopped, self.running = None, True
        # RAM goes in batches, everything else by itself
        other = "" if self.batch else "other_"
        if event == "vhost_vdpa_listener_begin_batch":
            self.batch = True
            print("message", name, "begin")
        elif event == "vhost_vdpa_listener_commit":
            self.batch = False
            print("message", name, "end")
        elif event == "vmstate_downtime_checkpoint":
            self.checkpoints[rest] = now
            begin = self.checkpoints.get(PARTS.get(rest))
            count["down"] += now - begin if begin else 0
        elif event == "vhost_vdpa_reset_device":
            count["resets"] += 1
            print("message", name, "reset")
        elif event == "vhost_vdpa_dma_map":
            count[other + "map"] += 1
            if self.batch:
                count["mib"] += int(value["size"], 16)
            print("message", name, "map", value["asid"], value["iova"], value["size"],
                  value["perm"])
        elif event == "vhost_vdpa_dma_unmap":
            count[other + "unmap"] += 1
            print("message", name, "unmap", value["asid"], value["iova"], value["size"])


class Guest:
    """A guest, and the QEMU that runs it"""

    def __init__(self, name, node, *words):
        self.serial_path = f"{WORK}/{name}.serial"
        self.console_path = f"{WORK}/{name}.console"
        self.errors_path = f"{WORK}/{name}.errors"
        self.monitor_path = f"{WORK}/{name}.monitor"
        self.monitor = None
        trace = f"{WORK}/{name}.trace"
        netdev, device, network = self.network(node)
        self.messages = Messages(trace)
        if OPTIONS.get("fake"):
            self.messages.contents = Contents(self, f"{WORK}/{name}.fake")
        open(trace, "w", encoding="ascii").close()
        # no_timer_check: on a busy host the timer ticks too late for that check
        command = [
            QEMU, "-nodefaults", "-no-user-config", "-display", "none",
            "-machine", "q35", "-accel", "tcg", "-cpu", "max",
            "-m", OPTIONS.get("mem", "128M"), "-smp", str(pairs()),
            "-L", "/usr/share/seabios", "-L", "/usr/share/qemu",
            "-kernel", KERNEL, "-initrd", INITRD,
            "-append", "console=ttyS0 quiet panic=-1 reboot=t no_timer_check" +
            (" intel_iommu=on" if OPTIONS.get("viommu") == "used" else ""),
            "-chardev", f"socket,id=serial,path={self.serial_path},server=on,wait=off,"
            f"logfile={self.console_path}", "-serial", "chardev:serial",
            "-qmp", f"unix:{self.monitor_path},server=on,wait=off",
            "-D", trace, "-msg", "timestamp=on"]
        for event in TRACES:
            command += ["-trace", event]
        with open(self.errors_path, "w", encoding="ascii") as errors:
            self.process = subprocess.Popen(command + network + list(words),
                                            stderr=errors, stdin=subprocess.DEVNULL,
                                            env=self.environment(name))
        atexit.register(self.process.kill)
        self.serial = socket.socket(socket.AF_UNIX)
        wait("QEMU's serial line", self.connect)
        threading.Thread(target=self.drain, daemon=True).start()
        if "hotplug" in OPTIONS:
            self.command("netdev_add", **netdev)
            self.command("device_add", bus="bridge", **device)
            self.command("cont")

    @staticmethod
    def network(node):
        """The network card, as it is described to QEMU, and QEMU's words for it"""
        netdev = {"type": "vhost-vdpa", "id": "net", "vhostdev": node}
        device = {"driver": "virtio-net-pci", "netdev": "net", "disable-legacy": "on",
                  "romfile": "", "mac": MAC}
        words = []
        if "svq" in OPTIONS:
            netdev["x-svq"] = True
        if "no_cvq" in OPTIONS:
            device.update(dict.fromkeys(NEED_CVQ, False))
        if "mq" in OPTIONS:
            netdev["queues"] = pairs()
            device.update({"mq": True, "vectors": 2 * pairs() + 2})
        if "viommu" in OPTIONS:
            words += ["-device", "intel-iommu,caching-mode=on"]
        if "iommu_platform" in OPTIONS or "viommu" in OPTIONS:
            device["iommu_platform"] = True
        if "hotplug" in OPTIONS:
            words += ["-S", "-device", "pcie-root-port,id=bridge"]
        else:
            words += ["-netdev", json.dumps(netdev), "-device", json.dumps(device)]
        return netdev, device, words

    @staticmethod
    def identity():
        """Does the device that takes notes have RAM at the guest's addresses, always?"""
        return int(OPTIONS["features"], 16) & PERSIST and "svq" not in OPTIONS and \
            OPTIONS.get("viommu") != "used"

    def drain(self):
        """A socket that nobody reads from takes a few hundred bytes, one by one"""
        try:
            while self.serial.recv(4096):
                pass
        except OSError:
            pass

    @staticmethod
    def environment(name):
        environment = dict(os.environ)
        if OPTIONS.get("fake"):
            environment["LD_PRELOAD"] = OPTIONS["fake"]
            environment["FAKE_BACKEND_FEATURES"] = OPTIONS["features"]
            environment["FAKE_REFUSE"] = OPTIONS.get("refuse", "0")
            environment["FAKE_REFUSALS"] = OPTIONS.get("refusals", "1-1000")
            environment["FAKE_BOUND"] = OPTIONS.get("bound", "0")
            if "cvq" in OPTIONS:
                environment["FAKE_CVQ"] = OPTIONS["cvq"]
            environment["FAKE_LOG"] = f"{WORK}/{name}.fake"
        return environment

    def connect(self):
        if self.process.poll() is not None:
            self.show()
            die("QEMU has ended")
        try:
            self.serial.connect(self.serial_path)
            return True
        except OSError:
            return False

    def command(self, name, **arguments):
        """Of QEMU's monitor"""
        if not self.monitor:
            # QEMU makes it after the serial line
            wait("QEMU's monitor", lambda: os.path.exists(self.monitor_path))
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(self.monitor_path)
            self.monitor = sock.makefile("rw")
            self.monitor.readline()
            self.command("qmp_capabilities")
        self.monitor.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.monitor.flush()
        while True:
            try:
                line = self.monitor.readline()
            except ConnectionResetError:
                line = ""
            if not line:
                self.show()
                die(f"{name}: QEMU ends by signal {-self.process.wait()}")
            answer = json.loads(line)
            if "error" in answer:
                die(f"{name}: {answer}")
            if "return" in answer:
                return answer["return"]

    def has(self, device):
        """Is there a device of this name?"""
        return any(entry["name"] == device
                   for entry in self.command("qom-list", path="/machine/peripheral"))

    def migrate(self, uri):
        """Slowly, until one thinks better of it, which takes a while on a busy host"""
        self.command("migrate-set-parameters", **{"max-bandwidth": 10000})
        self.command("migrate", uri=uri)
        self.migration("active")

    def migration(self, status):
        """Wait for it"""
        def reached():
            state = self.command("query-migrate")
            if state["status"] == "failed" and status != "failed":
                self.show()
                die(f"the migration fails: {state}")
            return state if state["status"] == status else None
        return wait(f"migration {status}", reached)

    def answers(self):
        with open(self.console_path, encoding="utf-8", errors="replace") as file:
            return re.findall(r"guest: ([^\r\n]*)\r?\n", file.read())

    def panicked(self):
        with open(self.console_path, encoding="utf-8", errors="replace") as file:
            return "Kernel panic" in file.read()

    def expect(self, pattern, after, seconds=1200):
        """An answer of the guest, beyond the first ones"""
        def find():
            if self.process.poll() is not None:
                self.show()
                die("QEMU has ended")
            if self.panicked():
                self.show_console()
                die("the guest's kernel panics")
            for answer in self.answers()[after:]:
                if "FAILED" in answer or re.match(pattern, answer):
                    return answer
            return None
        answer = wait(f"guest says {pattern}", find, seconds, self.show_console)
        if "FAILED" in answer:
            die("guest: " + answer)
        return answer

    def tell(self, word, pattern):
        count = len(self.answers())
        self.serial.sendall(word.encode() + b"\n")
        return self.expect(pattern, count)

    def report(self):
        """How the frames have fared since the last report, as step's arguments"""
        answer = self.tell("report", "frames ")
        return self.frames(answer)

    @staticmethod
    def frames(answer):
        words = answer.split()
        return dict(zip(words[1::2], words[2::2]))

    def show_console(self):
        self.show()
        with open(self.console_path, encoding="utf-8", errors="replace") as file:
            for line in file.readlines()[-20:]:
                print("console:", line.rstrip(), flush=True)

    def show(self):
        with open(self.errors_path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if "terminating on signal" not in line:
                    print("qemu:", line.rstrip(), flush=True)

    def end(self):
        self.process.terminate()
        code = self.process.wait()
        self.show()
        if code < 0:
            die(f"QEMU ends by signal {-code}")


def start(*words):
    """The guest, as soon as frames come back"""
    guest = Guest("a", add_device("d0"), *words)
    guest.expect("up", 0)
    guest.messages.step("boot", **guest.report())
    return guest


def finish(guest):
    guest.end()
    guest.messages.step("end")
    remove_device("d0")


def rebind(guest):
    count = len(guest.answers())
    answer = guest.tell("unbind", "unbind")
    frames = guest.frames(guest.expect("frames", count))
    guest.messages.step("unbind", down=answer.split()[-1], **frames)

    answer = guest.tell("bind", "bind")
    guest.messages.step("bind", down=answer.split()[-1], **guest.report())

    guest.tell("reboot", "up")
    guest.messages.step("reboot", down="-", **guest.report())


def cancel(guest):
    guest.migrate("exec:cat >/dev/null")
    guest.messages.step("shadow", **guest.report())

    guest.command("migrate_cancel")
    guest.migration("cancelled")
    guest.messages.step("cancel", **guest.report())


def migrate(source):
    """What runs afterwards is the target"""
    target = Guest("b", add_device("d1"), "-incoming", MIGRATION)
    wait("target", lambda: target.command("query-status")["status"] == "inmigrate" and
         os.path.exists(MIGRATION.partition(":")[2]))
    target.messages.step("target_waits")

    if "postcopy" in OPTIONS:
        capability = [{"capability": "postcopy-ram", "state": True}]
        source.command("migrate-set-capabilities", capabilities=capability)
        target.command("migrate-set-capabilities", capabilities=capability)
    source.migrate(MIGRATION)
    source.messages.step("shadow_again", **source.report())

    source.command("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
    if "postcopy" in OPTIONS:
        source.command("migrate-start-postcopy")
    state = source.migration("completed")
    wait("target runs", lambda: target.command("query-status")["status"] == "running")
    source.messages.step("source_stops")
    target.messages.step("target_starts", **target.report())
    end = target.messages.checkpoints.get("dst-precopy-bh-vm-started")
    # Neither with postcopy nor in older releases
    if end:
        downtime = (end - source.messages.checkpoints["src-downtime-start"]) * 1000
        print(f"downtime qemu={state['downtime']} all={downtime:.2f}")

    target.end()
    target.messages.step("target_end")
    remove_device("d1")


def again(guest):
    """A device that did not start is tried once more"""
    guest.command("stop")
    guest.command("cont")
    guest.messages.step("again", **guest.report())


def unplug(guest):
    """By a reset, so that the guest has no say in it"""
    guest.command("stop")
    guest.command("device_del", id="card")
    guest.command("system_reset")
    wait("the card is gone", lambda: not guest.has("card"))
    guest.command("object-del", id="cardram")
    # It is there as long as somebody may still be looking at the memory of before
    wait("its RAM is gone", lambda: "cardram" not in
         guest.command("human-monitor-command", **{"command-line": "info ramblock"}))
    guest.messages.step("unplug")

    count = len(guest.answers())
    guest.command("object-add", **RAM)
    guest.command("device_add", **CARD)
    guest.command("cont")
    guest.expect("up", count)
    guest.messages.step("plug", **guest.report())


RAM = {"qom-type": "memory-backend-ram", "id": "cardram", "size": 2 << 20}
CARD = {"driver": "ivshmem-plain", "id": "card", "memdev": "cardram", "bus": "bridge"}


def fail():
    """Not all of the memory may be locked: the device does not start"""
    node = add_device("d0")
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (64 << 20, 64 << 20))
    # Root may lock as much as it likes, but vhost-vdpa goes by the limit
    guest = Guest("a", node)
    guest.expect("up", 0)
    guest.messages.step("boot", **guest.report())
    guest.end()
    guest.messages.step("end")
    remove_device("d0")


STEPS = {
    "rebind": [rebind],
    "cancel": [cancel],
    "migrate": [migrate],
    "again": [again],
    "retry": [cancel, again],
    "unplug": [unplug],
    "life": [rebind, cancel, migrate],
}


def load_drivers():
    if "mlx5" in OPTIONS:
        words = ["desc_group=1"] if "desc_group" in OPTIONS else []
        subprocess.run(["modprobe", "mlx5_mock"] + words, check=True)
    driver = "mlx5_vdpa" if "mlx5" in OPTIONS else "vdpa_sim_net"
    subprocess.run(["modprobe", "-a", "vhost_vdpa", driver], check=True)


def main():
    global QEMU, KERNEL, INITRD, OPTIONS
    QEMU, KERNEL, INITRD, scenario = sys.argv[1:5]
    OPTIONS = dict(option.partition("=")[::2] for option in sys.argv[5:])
    atexit.register(shutil.rmtree, WORK)
    if not OPTIONS.get("fake"):
        resource.setrlimit(resource.RLIMIT_MEMLOCK,
                           (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        load_drivers()
    before = pins()
    if scenario == "fail":
        fail()
    else:
        words = []
        if scenario == "unplug":
            OPTIONS["unplug"] = ""
            words = ["-device", "pcie-root-port,id=bridge", "-object", json.dumps(RAM),
                     "-device", json.dumps(CARD)]
        guest = start(*words)
        for steps in STEPS[scenario]:
            steps(guest)
        finish(guest)
    check_models()
    print(f"left pinned={pins() - before}")


main()
