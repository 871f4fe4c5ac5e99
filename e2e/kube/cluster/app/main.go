// Command app is what the pods of the tests run beside their sidecars: an application as a user's own, that in addition reports to
// the tests what it did.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	commands := map[string]func(context.Context) error{
		"pause": pause, // hold a pod's namespaces
		"serve": serve, // answer calls
		"load":  load,  // serve, and ask everybody again and again
		"once":  once,  // ask everybody once, for a Job
	}
	if len(os.Args) != 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: app pause|serve|load|once")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func pause(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
