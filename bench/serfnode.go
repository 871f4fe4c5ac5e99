package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/serf/serf"
)

// An order is what a node of serf is told to do; it comes as a line of JSON, and one line comes back for each.
type order struct {
	Join    string        `json:"join,omitempty"`    // the address of a member
	Await   int           `json:"await,omitempty"`   // until so many are alive
	Query   int           `json:"query,omitempty"`   // so many answers make a query complete
	Callers int           `json:"callers,omitempty"` //
	During  time.Duration `json:"during,omitempty"`  //
}

// A result is what came of an order.
type result struct {
	Address string `json:"address,omitempty"` // in the first result, which no order asked for
	Load    *Load  `json:"load,omitempty"`
	Error   string `json:"error,omitempty"`
}

// serveSerf is the process of one node of serf: library and application in one, with serf's own profile for a LAN.
func serveSerf(ctx context.Context, name string, in io.Reader, out io.Writer) error {
	events := make(chan serf.Event, 4096)
	config := serf.DefaultConfig()
	config.NodeName = name
	config.EventCh = events
	config.MemberlistConfig.BindAddr = "127.0.0.1"
	config.MemberlistConfig.BindPort = 0
	config.MemberlistConfig.AdvertiseAddr = "127.0.0.1"
	node, err := serf.Create(config)
	if err != nil {
		return fmt.Errorf("start serf: %w", err)
	}
	go answerQueries(events) // ends with the process
	say := json.NewEncoder(out)
	me := node.LocalMember()
	if err := say.Encode(result{Address: net.JoinHostPort(me.Addr.String(), strconv.Itoa(int(me.Port)))}); err != nil {
		return err
	}
	for orders := bufio.NewScanner(in); orders.Scan(); {
		var o order
		if err := json.Unmarshal(orders.Bytes(), &o); err != nil {
			return fmt.Errorf("read an order: %w", err)
		}
		r, err := obey(ctx, node, o)
		if err != nil {
			r.Error = err.Error()
		}
		if err := say.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// answerQueries is the application: it says what it hears.
func answerQueries(events <-chan serf.Event) {
	for e := range events {
		if q, ok := e.(*serf.Query); ok {
			_ = q.Respond(q.Payload) // a late one is not wanted any more
		}
	}
}

func obey(ctx context.Context, node *serf.Serf, o order) (result, error) {
	switch {
	case o.Join != "":
		_, err := node.Join([]string{o.Join}, false)
		return result{}, err
	case o.Await > 0:
		return result{}, awaitSerf(ctx, node, o.Await)
	case o.Query > 0:
		l, err := run(o.Callers, o.During, func() (bool, error) { return query(node, o.Query) })
		return result{Load: &l}, err
	default:
		return result{}, errors.New("no such order")
	}
}

// awaitSerf waits until so many are alive.
func awaitSerf(ctx context.Context, node *serf.Serf, n int) error {
	for {
		alive := 0
		for _, m := range node.Members() {
			if m.Status == serf.StatusAlive {
				alive++
			}
		}
		if alive >= n {
			return nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// query asks everybody and ends when so many have answered. Serf does not end it by itself: it knows who answered, not who
// was asked. With an answer missing it takes serf's whole timeout.
func query(node *serf.Serf, n int) (bool, error) {
	q, err := node.Query("echo", make([]byte, messageSize), nil)
	if err != nil {
		return false, fmt.Errorf("query: %w", err)
	}
	defer q.Close()
	have := 0
	for range q.ResponseCh() {
		if have++; have == n {
			return true, nil
		}
	}
	return false, nil
}
