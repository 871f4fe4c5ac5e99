package local

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/starlingmesh/starling/rpc"
	"github.com/starlingmesh/starling/rpc/client"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// operator remembers what it was asked.
type operator struct {
	drained bool
	left    time.Duration
	faults  []Fault
	allowed bool
}

func (o *operator) Drain(_ context.Context, undo bool) (int, error) {
	o.drained = !undo
	return 7, nil
}

func (o *operator) Leave(_ context.Context, drain time.Duration) error {
	o.left = drain
	return nil
}

func (o *operator) SetLogLevel(level string) (string, error) {
	if level != "debug" {
		return "", rpc.Errorf(rpc.BadRequest, "level %q: want debug, info, warn or error", level)
	}
	return "info", nil
}

func (o *operator) SetFault(f Fault) error {
	if !o.allowed {
		return rpc.Errorf(rpc.FaultsOff, "faults are off")
	}
	o.faults = append(o.faults, f)
	return nil
}

func (o *operator) ClearFaults(string) (int, error) {
	n := len(o.faults)
	o.faults = nil
	return n, nil
}

func (o *operator) Faults() (bool, []Fault)               { return o.allowed, o.faults }
func (o *operator) Evidence(about string) (string, error) { return `{"about": "` + about + `"}`, nil }

func (o *operator) Dump(context.Context) (string, error) { return "all is well", nil }

func TestOperatorsHaveASocketOfTheirOwn(t *testing.T) {
	o := &operator{allowed: true}
	path := filepath.Join(t.TempDir(), "admin.sock")
	srv, err := ListenAdmin(t.Context(), path, o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := srv.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer cancel()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	conn, err := client.Connect(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	a := starlingv1.NewAdminServiceClient(conn)
	if r, err := a.Drain(t.Context(), &starlingv1.DrainRequest{}); err != nil || r.GetOpen() != 7 || !o.drained {
		t.Errorf("drain: %v, %v", r, err)
	}
	fault := &starlingv1.Fault{Peer: "b", Kind: starlingv1.FaultKind_FAULT_KIND_DELAY, Delay: durationpb.New(time.Second)}
	if _, err := a.SetFault(t.Context(), &starlingv1.SetFaultRequest{Fault: fault}); err != nil {
		t.Error(err)
	}
	list, err := a.ListFaults(t.Context(), &starlingv1.ListFaultsRequest{})
	if err != nil || !list.GetAllowed() || len(list.GetFaults()) != 1 || list.GetFaults()[0].GetDuration().AsDuration() != faultTime ||
		list.GetFaults()[0].GetDelay().AsDuration() != time.Second {
		t.Errorf("list: %v, %v", list, err)
	}
	if r, err := a.ClearFaults(t.Context(), &starlingv1.ClearFaultsRequest{}); err != nil || r.GetCleared() != 1 {
		t.Errorf("clear: %v, %v", r, err)
	}
	if r, err := a.Evidence(t.Context(), &starlingv1.EvidenceRequest{About: "cart-1"}); err != nil || r.GetJson() != `{"about": "cart-1"}` {
		t.Errorf("evidence: %v, %v", r, err)
	}
	if r, err := a.Dump(t.Context(), &starlingv1.DumpRequest{}); err != nil || r.GetText() != "all is well" {
		t.Errorf("dump: %v, %v", r, err)
	}
	if _, err := a.Leave(t.Context(), &starlingv1.LeaveRequest{}); err != nil || o.left != leaveDrain {
		t.Errorf("leave after %v: %v", o.left, err)
	}
	w := &world{t: t}
	for body, says := range map[string]string{
		`{"level":"loud"}`: "loud",
		`{"levl":"info"}`:  `"levl"`,
	} {
		code, got := w.curlAt(path, "starling.v1.AdminService/SetLogLevel", body)
		if text, _ := got["message"].(string); code != 400 || !strings.Contains(text, says) {
			t.Errorf("%s: %d %v", body, code, got)
		}
	}
	for body, says := range map[string]string{
		`{"fault":{"kind":"FAULT_KIND_CUT"}}`:                "fault.peer",
		`{"fault":{"peer":"b"}}`:                             "fault.kind",
		`{"fault":{"peer":"b","kind":"FAULT_KIND_DELAY"}}`:   "fault.delay",
		`{"fault":{"peer":"b","duration":"9000s","kind":1}}`: "fault.duration",
	} {
		code, got := w.curlAt(path, "starling.v1.AdminService/SetFault", body)
		if text, _ := got["message"].(string); code != 400 || !strings.Contains(text, says) {
			t.Errorf("%s: %d %v", body, code, got)
		}
	}
}

func TestTheApplicationsSocketHasNoAdmin(t *testing.T) {
	w := newWorld(t)
	if _, err := starlingv1.NewAdminServiceClient(w.conn()).Leave(t.Context(), &starlingv1.LeaveRequest{}); err == nil || !strings.Contains(err.Error(), "unknown service") {
		t.Errorf("got %v", err)
	}
}
