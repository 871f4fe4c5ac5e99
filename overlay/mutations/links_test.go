package mutations

// links are mutations of the views.
var links = []mutation{
	{
		"H1", "a member is remembered as a passive peer, too", "overlay/hyparview/passive.go",
		`len(info.Addrs) == 0 || v.active.Has(info.ID) {`,
		`len(info.Addrs) == 0 {`,
		swarm(1), "",
	},
	{
		"H2", "a full view accepts whoever asks", "overlay/hyparview/answer.go",
		`if !bridge && v.active.Len() >= v.cfg.Active && !v.makeRoom(now, l, q.high, out) {`,
		`if !bridge && v.active.Len() > 64 && !v.makeRoom(now, l, q.high, out) {`,
		swarm(1), "",
	},
	{
		"H3", "a member stays one when its link fails", "overlay/hyparview/links.go",
		"v.active.Delete(l.peer.ID)\n\t\tv.failed(now, l.peer)\n\t\tout.Add(",
		"v.failed(now, l.peer)\n\t\tout.Add(",
		swarm(1), "",
	},
	{
		"H3", "a request goes on though the peer's own was taken", "overlay/hyparview/answer.go",
		"\tv.cancelDialTo(l.peer.ID, out)\n",
		"\t_ = v.cancelDialTo\n",
		test("overlay/explore", "TestLinksAreSymmetricWhateverBreaks"), "a member is not asked",
	},
	{
		"H4", "a joiner's walk goes on for ever", "overlay/hyparview/walk.go",
		`v.forward(next, proto.ForwardJoin{Joiner: joiner, TTL: ttl - 1}`,
		`v.forward(next, proto.ForwardJoin{Joiner: joiner, TTL: ttl}`,
		swarm(1), "",
	},
	{
		"H5", "a full node refuses without a reason", "overlay/hyparview/answer.go",
		"if !high {\n\t\tv.refuse(now, l, proto.RefuseFull, out)",
		"if !high {\n\t\tv.refuse(now, l, 0, out)",
		swarm(1), "",
	},
	{
		"H6", "a failed member is kept in the passive view", "overlay/hyparview/links.go",
		"v.failed(now, l.peer)\n\t\tout.Add(proto.NeighborDown{Link: l.id, Peer: l.peer.ID, Why: \"failed\"",
		"v.remember(l.peer, now)\n\t\tout.Add(proto.NeighborDown{Link: l.id, Peer: l.peer.ID, Why: \"failed\"",
		swarm(1), "",
	},
	{
		"H7", "the end of an old link ends the current one", "overlay/hyparview/links.go",
		"case stateIdle, stateClosing:\n\tcase stateAsked:\n\t\tif down.Why",
		"case stateIdle:\n\tcase stateClosing:\n\t\tif current, ok := v.active.Get(l.peer.ID); ok {\n\t\t\tv.replace(current, \"failed\", out)\n\t\t}\n\tcase stateAsked:\n\t\tif down.Why",
		swarm(1), "",
	},
	{
		"H8", "a peer is asked within its cool-down", "overlay/hyparview/ask.go",
		`!v.active.Has(info.ID) && !v.isCooling(now, info.ID) && !v.asking(info.ID)`,
		`!v.active.Has(info.ID) && !v.asking(info.ID)`,
		swarm(1), "",
	},
	{
		"H9", "an unanswered request is dropped without a word", "overlay/hyparview/links.go",
		`v.withdraw(l, proto.ByeTrimmed, "no answer", out)`,
		`l.state, l.deadline = stateClosing, time.Time{}`,
		swarm(29), "",
	},
	{
		"H10", "no bridge to another component is built", "overlay/core/core.go",
		`if !w.Bridge.ID.IsZero() {`,
		`if false {`,
		test("overlay/sim", "TestHalvesThatWereCutApartAreOneWithinAMinute/4_and_4,_remembered"), "",
	},
	{
		"H11", "a view is refilled to two members only", "overlay/hyparview/ask.go",
		`return min(v.cfg.Requests, v.cfg.Active-v.active.Len()) - n`,
		`return min(v.cfg.Requests, 2-v.active.Len()) - n`,
		swarm(5), "",
	},
	{
		"H12", "whom the directory knows dead stays in the passive view", "overlay/hyparview/views.go",
		"v.passive.Delete(id)\n\tv.coolDown(now, id, v.cfg.CoolDown, max(1, incarnation))",
		"v.coolDown(now, id, v.cfg.CoolDown, max(1, incarnation))",
		swarm(50), "",
	},
	{
		"H13", "every request has high priority", "overlay/hyparview/ask.go",
		`return v.active.Len() <= 1 && v.refusals >= 2*v.cfg.Requests`,
		`return true`,
		swarm(25), "",
	},
}
