// Package client is the Go SDK of Starling: an application's way to the sidecar
// beside it. It calls everybody or one, serves methods, hears topics and knows
// the members, all over one unix socket. It never talks to other nodes itself,
// never guesses what became of a call, and never runs a call a second time.
//
// A [Client] is made by [Dial] and is safe for concurrent use. When the sidecar
// restarts, the client connects again and registers again what was handled and
// subscribed; calls that were open then end with [ErrConnectionLost].
//
//	c, err := client.Dial(ctx, client.Options{Application: "prices"})
//	if err != nil { … }
//	defer c.Close()
//	answer, err := c.Multicall(ctx, "cache.size", client.Text(""))
//	for _, v := range answer.Verdicts { fmt.Println(v.Name, v.Verdict, v.Executed) }
//
// An error means that the call could not be made or its answer not be had;
// whatever the nodes said is in the verdicts.
package client
