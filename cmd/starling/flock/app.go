package flock

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/rpc/client"
)

// AppCommand is the name of the small application beside each sidecar.
const AppCommand = "flock-app"

// The methods it serves.
const (
	EchoMethod  = "demo.echo"  // says what it hears, and who it is
	SleepMethod = "demo.sleep" // takes as long as it is told, e.g. 300ms
)

// App is the small application, a process of its own: all that one needs of the SDK.
func App() *cobra.Command {
	c := &cobra.Command{Use: AppCommand, Short: "The small application of demo and dev", Hidden: true, Args: cobra.NoArgs}
	socket := c.Flags().String("socket", "", "the sidecar's socket")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return serve(c.Context(), *socket)
	}
	return c
}

func serve(ctx context.Context, socket string) error {
	sidecar, err := client.Dial(ctx, client.Options{Socket: socket, Application: AppCommand, Wait: true})
	if err != nil {
		return err
	}
	echo := func(_ context.Context, r *client.Request) (client.Payload, error) {
		return client.Text(r.Payload.String() + " from " + sidecar.Node().Name), nil
	}
	err = errors.Join(sidecar.Handle(ctx, EchoMethod, echo), sidecar.Handle(ctx, SleepMethod, sleep))
	if err == nil {
		<-ctx.Done()
	}
	return errors.Join(err, sidecar.Close())
}

func sleep(ctx context.Context, r *client.Request) (client.Payload, error) {
	d, err := time.ParseDuration(r.Payload.String())
	if err != nil {
		return client.Payload{}, &client.AppError{Code: "bad_duration", Message: err.Error()}
	}
	select {
	case <-ctx.Done():
		return client.Payload{}, ctx.Err()
	case <-time.After(d):
		return client.Text("slept " + d.String()), nil
	}
}
