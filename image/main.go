// Command image builds the sidecar's image without Docker and without a registry: what `FROM scratch` with one static
// program would give, as an archive that containerd, kind, k3d, Podman and Docker load. It reads no network but Go's modules,
// and two builds of one source with one Go give the same bytes.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
)

// defaultName is the name under which the chart looks for the image.
const defaultName = "ghcr.io/starlingmesh/starling:dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, w io.Writer) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	name := flags.String("name", defaultName, "the image's `name:tag`")
	out := flags.String("o", "bin/starling.tar", "the archive to write")
	arches := flags.String("arch", "amd64,arm64", "for which machines; with one alone the archive is for old Dockers, too")
	source := flags.String("source", "./cmd/starling", "the program's package")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "starling-image-")
	if err != nil {
		return fmt.Errorf("make a folder for the programs: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	var programs []program
	for arch := range strings.SplitSeq(*arches, ",") {
		p, err := build(ctx, *source, arch, filepath.Join(dir, arch))
		if err != nil {
			return err
		}
		programs = append(programs, p)
	}
	a, err := assemble(*name, programs)
	if err != nil {
		return err
	}
	if err := a.write(*out); err != nil {
		return err
	}
	for _, p := range a.platforms {
		fmt.Fprintf(w, "%s  linux/%s, %.1f MB\n", p.digest, p.arch, float64(p.size)/1e6)
	}
	fmt.Fprintf(w, "%s  %s, in %s\n", a.digest, *name, *out)
	return nil
}

// A program is one static binary.
type program struct {
	arch string // as Go calls it
	text []byte
}

// build compiles the program so that nothing of this machine is in it: no path, no commit, no C library.
func build(ctx context.Context, source, arch, file string) (program, error) {
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", file, source)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=")
	c.Stderr = os.Stderr
	if err := c.Run(); err != nil {
		return program{}, fmt.Errorf("build %s for %s: %w", source, arch, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return program{}, fmt.Errorf("read what was built: %w", err)
	}
	return program{arch: arch, text: text}, nil
}
