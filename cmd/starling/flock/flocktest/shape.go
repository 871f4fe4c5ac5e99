package flocktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/rpc/client"
)

// Complete wants that each bird knows so many members, all alive and all serving the small application's method.
func (w *World) Complete(members int, except ...*flock.Bird) error {
	_, err := w.directories(func(b *flock.Bird, list []client.Member) error {
		good := 0
		for _, m := range list {
			if m.Status == "alive" && slices.Contains(m.Handlers, flock.EchoMethod) {
				good++
			}
		}
		if good != members || len(list) != members {
			return fmt.Errorf("%s knows %d members, %d of them alive and serving", b.Name, len(list), good)
		}
		return nil
	}, except...)
	return err
}

// Serving wants that each bird knows exactly so many members that serve the small application's method.
func (w *World) Serving(members int, except ...*flock.Bird) error {
	_, err := w.directories(func(b *flock.Bird, list []client.Member) error {
		good := 0
		for _, m := range list {
			if slices.Contains(m.Handlers, flock.EchoMethod) {
				good++
			}
		}
		if good != members {
			return fmt.Errorf("%s knows %d members that serve", b.Name, good)
		}
		return nil
	}, except...)
	return err
}

// OneComponent wants that links lead from each bird to each other, and that none holds more than so many.
func (w *World) OneComponent(most int, except ...*flock.Bird) error {
	links, err := w.directories(func(b *flock.Bird, list []client.Member) error {
		n := 0
		for _, m := range list {
			if m.Linked {
				n++
			}
		}
		if n == 0 || n > most {
			return fmt.Errorf("%s holds %d links", b.Name, n)
		}
		return nil
	}, except...)
	if err != nil {
		return err
	}
	from := w.Except(except...)[0].Name
	reached, next := map[string]bool{from: true}, []string{from}
	for len(next) > 0 {
		for _, m := range links[next[0]] {
			if m.Linked && !reached[m.Name] {
				reached[m.Name] = true
				next = append(next, m.Name)
			}
		}
		next = next[1:]
	}
	if want := len(w.Birds()) - len(except); len(reached) != want {
		return fmt.Errorf("from %s one reaches %d of %d", from, len(reached), want)
	}
	return nil
}

// directories reads what each bird knows, and checks it.
func (w *World) directories(check func(*flock.Bird, []client.Member) error, except ...*flock.Bird) (map[string][]client.Member, error) {
	birds := w.Except(except...)
	known, wrong := make([][]client.Member, len(birds)), make([]error, len(birds))
	var wg sync.WaitGroup
	for i, b := range birds {
		wg.Go(func() {
			if known[i], _, wrong[i] = b.Client().Members(w.t.Context()); wrong[i] == nil {
				wrong[i] = check(b, known[i])
			}
		})
	}
	wg.Wait()
	by := map[string][]client.Member{}
	for i, b := range birds {
		by[b.Name] = known[i]
	}
	return by, first(wrong)
}

// first is the first error and how many there are: 64 lines that say the same help nobody.
func first(all []error) error {
	var some []error
	for _, err := range all {
		if err != nil && !errors.Is(err, context.Canceled) {
			some = append(some, err)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return fmt.Errorf("%w (and %d more)", some[0], len(some)-1)
}
