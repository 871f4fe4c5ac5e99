package client_test

import (
	"context"
	"fmt"
	"time"

	"github.com/starlingmesh/starling/rpc/client"
)

// Ask everybody, and look at every node's verdict.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{Application: "prices"})
	if err != nil {
		fmt.Println(err) // names every socket that was tried
		return
	}
	defer func() { _ = c.Close() }()

	answer, err := c.Multicall(ctx, "cache.size", client.Text(""))
	if err != nil {
		fmt.Println(err) // the call could not be made
		return
	}
	for _, v := range answer.Verdicts {
		if v.OK() {
			fmt.Println(v.Name, v.Payload)
		} else {
			fmt.Println(v.Name, v.Verdict, v.Executed, v.Reason)
		}
	}
}

// Serve a method. An *AppError reaches the caller as it is.
func ExampleClient_Handle() {
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Options{Wait: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	cache := map[string]string{}
	err = c.Handle(ctx, "cache.get", func(_ context.Context, r *client.Request) (client.Payload, error) {
		value, ok := cache[r.Payload.String()]
		if !ok {
			return client.Payload{}, &client.AppError{Code: "not_found", Message: "no such key"}
		}
		return client.Text(value), nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
}

// Take verdicts as they come, from three nodes of a group, and stop early.
func ExampleClient_MulticallStream() {
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	for v, err := range c.MulticallStream(ctx, "search", client.Text("starling"), client.InGroup("index"), client.Sample(3)) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if v.OK() {
			fmt.Println(v.Name, "has it first:", v.Payload)
			break // cancels the others
		}
	}
}

// Hear a topic, and flush the cache when messages were missed.
func ExampleClient_Subscribe() {
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	cache := map[string]bool{}
	for e, err := range c.Subscribe(ctx, "cache.drop") {
		if err != nil {
			fmt.Println(err)
			return
		}
		if e.Gap > 0 {
			clear(cache)
			continue
		}
		delete(cache, e.Payload.String())
	}
}

// Retry only where it is promised that the handler did not run.
func ExampleClient_Call() {
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	for {
		v, err := c.Call(ctx, "", "account.debit", client.Text("7"), client.OwnerOf("accounts", "alice"))
		if err != nil {
			fmt.Println(err)
			return
		}
		if v.Executed != client.No {
			fmt.Println(v.Verdict, v.Payload)
			return
		}
	}
}
