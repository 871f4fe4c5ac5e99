package nodes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupRoots are the places where cgroups are made: one for each controller (version 1), or one for all (version 2).
func cgroupRoots() []string {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return []string{"/sys/fs/cgroup"}
	}
	roots, err := filepath.Glob("/sys/fs/cgroup/*")
	if err != nil {
		panic(err) // the pattern is ours
	}
	return roots
}

func hasController(name string) bool {
	if all, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return strings.Contains(" "+strings.TrimSpace(string(all))+" ", " "+name+" ")
	}
	return unix.Access("/sys/fs/cgroup/"+name+"/cgroup.procs", unix.W_OK) == nil
}

// podsCgroup is where containerd has the cgroups of all pods, at every controller, if a kubelet names no other.
const podsCgroup = "k8s.io"

// favourPods makes that cgroup and gives it the weight of many processes. All pods together would weigh as much as one, beside a
// control plane and the daemons of nodes that would be on other machines, and get no processor for seconds. undo removes it; on a
// machine that has one, of its own containers, nothing is touched.
func favourPods() (undo func() error, err error) {
	const many = 20
	roots := cgroupRoots()
	weight, file := many*1024, filepath.Join("/sys/fs/cgroup/cpu", podsCgroup, "cpu.shares")
	if len(roots) == 1 {
		weight, file = many*100, filepath.Join(roots[0], podsCgroup, "cpu.weight")
	}
	if err := os.Mkdir(filepath.Dir(file), 0o750); errors.Is(err, fs.ErrExist) {
		return func() error { return nil }, nil
	} else if err != nil {
		return nil, fmt.Errorf("make a cgroup for the pods: %w", err)
	}
	undo = func() error { return removeCgroups(podsCgroup) }
	if err := os.WriteFile(file, fmt.Append(nil, weight), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("give the pods' cgroup its weight: %w", err), undo())
	}
	return undo, nil
}

// removeCgroups removes a cgroup and what is below it, at every controller. They are empty by now.
func removeCgroups(name string) error {
	var all []error
	for _, root := range cgroupRoots() {
		var below []string
		err := filepath.WalkDir(filepath.Join(root, name), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				below = append(below, path)
			}
			return nil
		})
		all = append(all, err)
		for _, path := range slices.Backward(below) { // the deepest come last
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				all = append(all, err)
			}
		}
	}
	return errors.Join(all...)
}
