package main

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/overlay/proto"
)

// newRegistry is this node's own: nothing that a library registers by itself is in it.
func newRegistry(n *node) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collector{n},
	)
	return r
}

// collector reads what the layers have counted when it is asked. Labels are from closed sets, so their number is bounded.
type collector struct{ *node }

// Describe says nothing: what there is to count depends on what happened.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads every layer once.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	e := emitter{ch}
	e.gauge("build_info", "Which version runs; always 1.", 1, "version", version())
	c.overlayMetrics(e)
	c.rpcMetrics(e)
	c.discoveryMetrics(e)
}

func (c collector) overlayMetrics(e emitter) {
	s := c.mesh.Stats()
	e.counter("overlay_bytes_total", "Bytes over all connections to members, TLS included.", float64(s.BytesIn), "direction", "in")
	e.counter("overlay_bytes_total", "Bytes over all connections to members, TLS included.", float64(s.BytesOut), "direction", "out")
	for message, n := range s.FramesIn {
		e.counter("overlay_frames_total", "Frames by message.", float64(n), "direction", "in", "message", message)
	}
	for message, n := range s.FramesOut {
		e.counter("overlay_frames_total", "Frames by message.", float64(n), "direction", "out", "message", message)
	}
	for _, kind := range []proto.LinkKind{proto.LinkOverlay, proto.LinkPool, proto.LinkProbe, proto.LinkLane} {
		e.gauge("overlay_links", "Connections to members, by kind.", float64(s.Links[kind.String()]), "kind", kind.String())
	}
	e.gauge("overlay_view_members", "Members in the views.", float64(len(s.Core.Active)), "view", "active")
	e.gauge("overlay_view_members", "Members in the views.", float64(len(s.Core.Passive)), "view", "passive")
	e.gauge("overlay_health", "This node's own health as it paces its suspicion; 0 is well.", float64(s.Core.Health))
	e.gauge("overlay_pooled", "Links to nodes that are no neighbours, standing or being dialled.", float64(s.Core.Pooled))
	calls := s.Core.Calls
	for form, n := range map[string]uint64{"wave": calls.Waves, "star": calls.Stars, "widened": calls.StarsWidened, "direct": calls.Directs} {
		e.counter("overlay_calls_total", "Calls begun here, by the form in which they went out.", float64(n), "form", form)
	}
	for what, n := range map[string]uint64{
		"dispatched": calls.Dispatched, "relayed": calls.Relayed, "asked": calls.Asks, "helped": calls.Helps,
		"adopted": calls.Adopts, "pulled": calls.Pulls, "late": calls.Late,
	} {
		e.counter("overlay_call_steps_total", "What calls took on this node.", float64(n), "what", what)
	}
	e.gauge("overlay_kept_reply_bytes", "Replies kept for callers that may ask again.", float64(calls.KeptBytes))
	e.gauge("overlay_queued_bytes", "Bytes that wait to be written.", float64(s.Queued))
	e.gauge("overlay_handshakes", "Connections that have not proven their membership yet.", float64(s.Handshakes))
	e.counter("overlay_accept_errors_total", "Accepts that failed, mostly for lack of descriptors.", float64(s.AcceptErrors))
	e.labelled("overlay_refused_total", "Connections and dials that did not become a link.", "reason", s.Refused)
	for d, n := range s.Dials {
		e.counter("overlay_dials_total", "Dials by who wanted them and how they ended.", float64(n), "owner", d.Owner, "result", d.Result)
	}
	e.labelled("overlay_unread_total", "Frames that were not understood.", "reason", s.Unread)
	e.labelled("overlay_ignored_total", "What peers sent and was not acted upon.", "reason", s.Ignored)
	e.counter("overlay_loop_batches_total", "Batches of inputs that the loop has taken.", float64(s.Lag.Batches))
	e.counter("overlay_loop_lag_seconds_total", "Time that the first input of each batch has waited.", s.Lag.Sum.Seconds())
	e.gauge("overlay_loop_lag_max_seconds", "Longest that an input has waited.", s.Lag.Max.Seconds())
}

func (c collector) rpcMetrics(e emitter) {
	s := c.calls.Status()
	for status, n := range map[string]int{"alive": s.Alive, "suspect": s.Suspect, "down": s.Down, "left": s.Left} {
		e.gauge("members", "Members as this node knows them.", float64(n), "status", status)
	}
	e.gauge("ready", "Whether /readyz says ok.", yes(c.probes.ready() == nil))
	for _, v := range c.calls.Counters() {
		e.counter("rpc_"+v.Name+"_total", "Of the local API, since the start.", float64(v.Value), "label", v.Label)
	}
	g := c.calls.Gauges()
	for what, n := range map[string]int{"calls": g.Calls, "applications": g.Applications, "requests": g.Requests, "watchers": g.Watchers} {
		e.gauge("rpc_open", "What is open at this moment.", float64(n), "what", what)
	}
	e.gauge("rpc_queued_bytes", "Bytes that wait for local applications.", float64(g.QueuedBytes))
}

func (c collector) discoveryMetrics(e emitter) {
	for _, s := range c.finder.Snapshot().Sources {
		e.gauge("discovery_source_ok", "Whether the source's last answer is good.", yes(s.State == discovery.StateOK), "source", s.Source)
		e.gauge("discovery_candidates", "Addresses that the source names now.", float64(s.Vouched), "source", s.Source)
		e.gauge("discovery_held_back", "Withdrawals that look suspicious and wait.", float64(s.Held), "source", s.Source)
		e.gauge("discovery_self_missing", "Whether the source should list this node and does not.", yes(s.SelfMissing), "source", s.Source)
		e.counter("discovery_observations_total", "Answers of the source.", float64(s.Observations), "source", s.Source)
		e.counter("discovery_restarts_total", "Times the strategy had to be started again.", float64(s.Restarts), "source", s.Source)
		e.counter("discovery_rejected_total", "Candidates that made no sense.", float64(s.Rejected), "source", s.Source)
		for class, n := range s.Failures {
			e.counter("discovery_failures_total", "Times the source could not be asked.", float64(n), "source", s.Source, "class", class)
		}
		for what, n := range s.Counters {
			e.counter("discovery_strategy_total", "What the source's strategy has counted.", float64(n), "source", s.Source, "what", what)
		}
	}
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// An emitter writes metrics; labels are pairs of a name and a value.
type emitter struct{ ch chan<- prometheus.Metric }

func (e emitter) counter(name, help string, v float64, labels ...string) {
	e.emit(prometheus.CounterValue, name, help, v, labels)
}

func (e emitter) gauge(name, help string, v float64, labels ...string) {
	e.emit(prometheus.GaugeValue, name, help, v, labels)
}

func (e emitter) labelled(name, help, label string, values map[string]uint64) {
	for value, n := range values {
		e.counter(name, help, float64(n), label, value)
	}
}

func (e emitter) emit(kind prometheus.ValueType, name, help string, v float64, labels []string) {
	names, values := make([]string, 0, len(labels)/2), make([]string, 0, len(labels)/2)
	for i := 0; i < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	e.ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("starling_"+name, help, names, nil), kind, v, values...)
}
