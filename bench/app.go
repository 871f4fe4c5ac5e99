package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/starlingmesh/starling/rpc/client"
)

// What the application beside each sidecar serves.
const (
	echoMethod  = "bench.echo"  // says what it hears
	tellMethod  = "bench.tell"  // counts a message of a run
	countMethod = "bench.count" // how many different messages of the last run it has, and how many came twice
)

// messageSize is what every call and message carries.
const messageSize = 32

// message is number i of a run of so many messages.
func message(run uint64, i, of int) []byte {
	m := make([]byte, messageSize)
	binary.BigEndian.PutUint64(m, run)
	binary.BigEndian.PutUint32(m[8:], uint32(i))
	binary.BigEndian.PutUint32(m[12:], uint32(of))
	return m
}

// A listener is what one application has of the current run. When it has all, it writes a line "RUN UNIX-NANOSECONDS".
type listener struct {
	out io.Writer

	mu    sync.Mutex // guards the rest
	run   uint64
	seen  []bool
	have  int
	twice int
}

func (l *listener) tell(_ context.Context, r *client.Request) (client.Payload, error) {
	m := r.Payload.Data
	if len(m) < messageSize {
		return client.Payload{}, errors.New("not a message of the bench")
	}
	run, i, of := binary.BigEndian.Uint64(m), int(binary.BigEndian.Uint32(m[8:])), int(binary.BigEndian.Uint32(m[12:]))
	l.mu.Lock()
	defer l.mu.Unlock()
	if run != l.run {
		l.run, l.seen, l.have, l.twice = run, make([]bool, of), 0, 0
	}
	if l.seen[i] {
		l.twice++
		return client.Payload{}, nil
	}
	l.seen[i] = true
	if l.have++; l.have == of {
		fmt.Fprintf(l.out, "%d %d\n", run, time.Now().UnixNano()) // one short write: lines of many processes do not mix
	}
	return client.Payload{}, nil
}

func (l *listener) count(context.Context, *client.Request) (client.Payload, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return client.Text(strconv.Itoa(l.have) + " " + strconv.Itoa(l.twice)), nil
}

// serveApp is the application's process.
func serveApp(ctx context.Context, socket string, out io.Writer) error {
	sidecar, err := client.Dial(ctx, client.Options{Socket: socket, Application: "bench-app", Wait: true})
	if err != nil {
		return err
	}
	l := &listener{out: out}
	echo := func(_ context.Context, r *client.Request) (client.Payload, error) { return r.Payload, nil }
	err = errors.Join(
		sidecar.Handle(ctx, echoMethod, echo), sidecar.Handle(ctx, tellMethod, l.tell), sidecar.Handle(ctx, countMethod, l.count))
	if err == nil {
		<-ctx.Done()
	}
	return errors.Join(err, sidecar.Close())
}
