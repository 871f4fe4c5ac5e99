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

const (
	farewell  = 500 * time.Millisecond // to tell the sidecar that it serves no more; it may be gone
	finishing = 20 * time.Second       // to finish what it has begun
)

// serve answers until ctx ends. Then it takes no more, finishes what it has begun, and goes.
func serve(ctx context.Context, socket string) error {
	sidecar, err := client.Dial(ctx, client.Options{Socket: socket, Application: AppCommand, Wait: true})
	if err != nil {
		return err
	}
	methods := map[string]client.Handler{
		SleepMethod: sleep,
		EchoMethod: func(_ context.Context, r *client.Request) (client.Payload, error) {
			return client.Text(r.Payload.String() + " from " + sidecar.Node().Name), nil
		},
	}
	for name, h := range methods {
		if err := sidecar.Handle(ctx, name, h); err != nil {
			return errors.Join(err, sidecar.Close())
		}
	}
	<-ctx.Done()
	last := context.WithoutCancel(ctx)
	ctx, cancel := context.WithTimeout(last, farewell)
	defer cancel()
	for name := range methods {
		if err := sidecar.Handle(ctx, name, nil); err != nil {
			return sidecar.Close() // nobody is there to finish anything for
		}
	}
	ctx, done := context.WithTimeout(last, finishing)
	defer done()
	return errors.Join(sidecar.Finish(ctx), sidecar.Close())
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
