package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// programs are what the networks are made with, and the Debian package of each.
var programs = []struct{ name, pkg string }{{"ip", "iproute2"}, {"nft", "nftables"}}

// Prepare makes sure that namespaces can be made, and removes those of runs that were killed before they could. Call it
// from TestMain.
func Prepare() error {
	if os.Getuid() != 0 {
		return errors.New("these tests make network namespaces: run them as root")
	}
	var missing []string
	for _, p := range programs {
		if _, err := exec.LookPath(p.name); err != nil {
			missing = append(missing, p.pkg)
		}
	}
	if err := Install(missing...); err != nil {
		return err
	}
	return removeLeftovers()
}

// Install installs Debian packages and says so; none is nothing to do. A test whose server is missing must not be skipped.
func Install(packages ...string) error {
	if len(packages) == 0 {
		return nil
	}
	fmt.Println("installing", strings.Join(packages, ", "))
	for _, words := range [][]string{{"update", "-q"}, append([]string{"install", "-qy", "--no-install-recommends"}, packages...)} {
		c := exec.Command("apt-get", words...)
		c.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w: %s", strings.Join(words, " "), err, out)
		}
	}
	return nil
}

// tagPrefix begins the names of our namespaces; the process that made them follows.
const tagPrefix = "starling-e2e-"

func removeLeftovers() error {
	list, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		return fmt.Errorf("list the network namespaces: %w", err)
	}
	for line := range strings.Lines(string(list)) {
		var pid int
		if _, err := fmt.Sscanf(line, tagPrefix+"%d-", &pid); err != nil {
			continue // not ours
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
			continue // it runs
		}
		if out, err := exec.Command("ip", "netns", "del", strings.Fields(line)[0]).CombinedOutput(); err != nil {
			return fmt.Errorf("remove the left-over namespace %s: %w: %s", line, err, out)
		}
	}
	return nil
}
