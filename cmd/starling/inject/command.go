package inject

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/cmd/starling/term"
)

// Command is `starling inject`.
func Command() *cobra.Command {
	c := &cobra.Command{
		Use:   "inject",
		Short: "Put the sidecar into Kubernetes manifests",
		Long: `Copies manifests to standard output, with the sidecar in every Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job and
CronJob: what the chart's templates would put there. The configuration, the key, the Service and the rights are those of a
release of the chart. Injecting twice changes nothing.

For a release whose values are not the chart's defaults, give it the description of a pod that the release has:

  kubectl get configmap starling -o jsonpath='{.data.pod\.yaml}' > pod.yaml`,
		Example: "  helm install starling charts/starling --set demo.enabled=false\n" +
			"  starling inject -f cart.yaml | kubectl apply -f -\n" +
			"  kubectl get deploy cart -o yaml | starling inject --release cart --container cart | kubectl apply -f -\n" +
			"  starling inject --pod pod.yaml -f cart.yaml",
		Args: cobra.NoArgs,
	}
	file := c.Flags().StringP("filename", "f", "-", `the manifests; "-" is standard input`)
	release := c.Flags().String("release", "starling", "the chart's release that the pods belong to")
	pod := c.Flags().String("pod", "", "pod.yaml of the release's ConfigMap, in place of --release")
	image := c.Flags().String("image", "", "the sidecar's image (default: the chart's)")
	pull := c.Flags().String("pull-policy", "", "when it is pulled: Always, IfNotPresent or Never (default: the chart's)")
	only := c.Flags().StringSlice("container", nil, "only these containers get the socket (default: all)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *pod != "" && c.Flags().Changed("release") {
			return term.Usagef("--pod and --release: choose one")
		}
		p, err := podOf(*release, *pod)
		if err != nil {
			return err
		}
		p.SetImage(*image, *pull)
		in := c.InOrStdin()
		if *file != "-" {
			f, err := os.Open(*file)
			if err != nil {
				return fmt.Errorf("read the manifests: %w", err)
			}
			defer func() { _ = f.Close() }() // it was only read
			in = f
		}
		var out bytes.Buffer // all or nothing: half a manifest must not be applied
		changes, err := p.Inject(in, &out, *only)
		if err != nil {
			return err
		}
		tell(c.ErrOrStderr(), changes)
		_, err = c.OutOrStdout().Write(out.Bytes())
		return err
	}
	return c
}

func podOf(release, file string) (Pod, error) {
	if file == "" {
		if release == "" {
			return Pod{}, term.Usagef("--release is empty: name the chart's release")
		}
		return Of(release)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return Pod{}, fmt.Errorf("read the pod: %w", err)
	}
	return Parse(text)
}

// tell says for people what was done; the manifests are for programs.
func tell(w io.Writer, changes []Change) {
	if len(changes) == 0 {
		fmt.Fprintln(w, "starling: no pod in it; copied as it is")
	}
	for _, c := range changes {
		fmt.Fprintf(w, "starling: %s: the sidecar, and its socket in %s\n", c.Object, strings.Join(c.Containers, ", "))
		for _, n := range c.Notes {
			fmt.Fprintf(w, "  ! %s\n", n)
		}
	}
}
