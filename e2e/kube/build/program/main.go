// Command program prints the path of a server's program, which it builds first if the cache lacks it:
//
//	go run -C e2e/kube ./build/program coredns
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/starlingmesh/starling/e2e/kube/build"
)

func main() {
	names := os.Args[1:]
	if len(names) == 0 {
		names = build.Names()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for _, name := range names {
		path, err := build.Program(ctx, name, os.Stderr)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(path)
	}
}
