package nodes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/starlingmesh/starling/e2e/kube/apart"
	"github.com/starlingmesh/starling/e2e/kube/build"
	"github.com/starlingmesh/starling/e2e/netns"
)

// Main runs tests in namespaces in which a cluster can be started: of processes, so that nothing of it outlives them, mounts
// and network. It returns the exit code. Call it from TestMain, before anything else.
//
// Where the machine cannot, it says what is missing and the code is 1, unless STARLING_E2E=skip is set by hand.
func Main(prepare func(context.Context) error, tests func() int) int {
	if dir := os.Getenv(holdKey); dir != "" {
		holder(dir)
	}
	if apart.Inside() {
		if err := inside(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return tests()
	}
	if os.Getenv("STARLING_E2E") == "skip" {
		fmt.Fprintln(os.Stderr, "SKIPPED, because STARLING_E2E=skip: nothing was tested on a cluster")
		return 0
	}
	code, err := outside(prepare)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// outside builds what needs the network, has the tests run inside, and removes what namespaces do not take with them.
func outside(prepare func(context.Context) error) (code int, err error) {
	// SIGQUIT is how `go test` ends what took too long.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	if err := machineCan(ctx); err != nil {
		return 0, err
	}
	for _, name := range []string{"kubernetes", "helm"} {
		if _, err := build.Program(ctx, name, os.Stderr); err != nil {
			return 0, err
		}
	}
	if err := prepare(ctx); err != nil {
		return 0, err
	}
	undo, err := favourPods()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, undo()) }()
	return apart.Again(ctx, syscall.CLONE_NEWPID|syscall.CLONE_NEWNS|syscall.CLONE_NEWNET)
}

// inside makes mounts its own, and shows the processes of its own namespace only.
func inside() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return fmt.Errorf("let packets pass between nodes: %w", err)
	}
	return nil
}

// programs are what a node is made with, and the Debian package of each.
var programs = []struct{ path, pkg string }{
	{"ip", "iproute2"}, {"nft", "nftables"}, {"nsenter", "util-linux"}, {"mount", "mount"}, {"iptables", "iptables"},
	{"containerd", "containerd"}, {"ctr", "containerd"}, {"runc", "runc"},
	{filepath.Join(cniPrograms, "bridge"), "containernetworking-plugins"},
}

// machineCan says everything that this machine lacks for a cluster, after installing what can be installed.
func machineCan(ctx context.Context) error {
	if os.Getuid() != 0 {
		return cannot(errors.New("root: namespaces, mounts and cgroups are made"))
	}
	missing := map[string]bool{}
	for _, p := range programs {
		if _, err := exec.LookPath(p.path); err != nil {
			missing[p.pkg] = true
		}
	}
	var packages []string
	for p := range missing {
		packages = append(packages, p)
	}
	lacks := []error{netns.Install(packages...)}
	for _, controller := range []string{"memory", "cpu", "pids"} {
		if !hasController(controller) {
			lacks = append(lacks, fmt.Errorf("a writable cgroup controller %q below /sys/fs/cgroup", controller))
		}
	}
	c := exec.CommandContext(ctx, "true")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET}
	if err := c.Run(); err != nil {
		lacks = append(lacks, fmt.Errorf("namespaces of processes, mounts and network: %w", err))
	}
	if !hasOverlay(ctx) {
		lacks = append(lacks, errors.New("an overlay file system in this kernel; `modprobe overlay` brings none"))
	}
	return cannot(lacks...)
}

// cannot says what is missing, if something is.
func cannot(lacks ...error) error {
	if err := errors.Join(lacks...); err != nil {
		return fmt.Errorf("a Kubernetes cluster cannot run here; missing:\n%w\nSTARLING_E2E=skip goes on without these tests", err)
	}
	return nil
}

func hasOverlay(ctx context.Context) bool {
	known := func() bool {
		systems, err := os.ReadFile("/proc/filesystems")
		return err == nil && strings.Contains(string(systems), "\toverlay\n")
	}
	return known() || exec.CommandContext(ctx, "modprobe", "overlay").Run() == nil && known()
}
