package mutations

// broadcast are mutations of the trees.
var broadcast = []mutation{
	{
		"P1", "a link that left the active view stays in the tree", "overlay/core/route.go",
		"c.toTree().NeighborDown(now, link, out)\n",
		"",
		swarm(1), "",
	},
	{
		"P2", "a broadcast below the window is taken for new", "overlay/plumtree/receive.go",
		"case w.done(id.Seq):\n\t\treturn WhyOld\n\t",
		"",
		swarm(2), "held back twice, or below the window",
	},
	{
		"P3", "an application is told another broadcast's number", "overlay/plumtree/tree.go",
		"Body: body, Local: true})\n\treturn id, \"\"",
		"Body: body, Local: true})\n\tid.Seq++\n\treturn id, \"\"",
		swarm(1), "",
	},
	{
		"P4", "a broadcast goes two hops and no further", "overlay/plumtree/neighbor.go",
		"case e.hasIt(n.link):\n\t\tcase n.peer",
		"case e.hasIt(n.link), e.hops > 1:\n\t\tcase n.peer",
		swarm(5), "",
	},
	{
		"P4", "whose link comes up hears nothing of what was said", "overlay/plumtree/neighbor.go",
		"ranges(recent, func(",
		"ranges(recent[:0], func(",
		test("overlay/explore", "TestEveryBroadcastReachesEverybodyThoughLinksFlap"), "only its origin's last word mends that",
	},
	{
		"P6", "who is asked next gets no time to answer", "overlay/plumtree/want.go",
		`v.at = proto.Sooner(v.ends, now.Add(n.patience(&t.cfg)/2))`,
		`v.at = time.Time{}`,
		swarm(2), "a missing broadcast without its timer",
	},
	{
		"P7", "the cache forgets by bytes and time alone", "overlay/plumtree/cache.go",
		`for len(c.queue) > cfg.CacheCount || c.bytes > cfg.CacheBytes {`,
		`for c.bytes > cfg.CacheBytes {`,
		test("overlay/sim", "TestAHostilePeerIsIgnoredAndHarmsNobody"), "broadcast_windows_full: a hostile peer was not ignored for it",
	},
	{
		"P8", "announcements are not cut to what a frame may hold", "overlay/plumtree/ranges.go",
		`(ids[i-1].id.Stream != n.id.Stream || len(list) == proto.MaxRanges)`,
		`ids[i-1].id.Stream != n.id.Stream`,
		property("overlay/plumtree", "TestRangesJoinNeighboursAndFitTheirMessages"), "",
	},
	{
		"P9", "a broadcast is pushed to who has it", "overlay/plumtree/neighbor.go",
		"case e.hasIt(n.link):\n\t\tcase n.peer",
		"case n.peer",
		swarm(1), "a broadcast would go twice over one link",
	},
	{
		"P10", "what comes early is delivered early", "overlay/plumtree/window.go",
		"if !w.ordered() {\n\t\tt.deliver(",
		"if true {\n\t\tt.deliver(",
		swarm(9), "",
	},
}
