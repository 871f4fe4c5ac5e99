package core

// check asserts, after every step, what must always hold. It costs
// nanoseconds, so production runs it too: a node that has lost its mind must
// end rather than speak. A step that was about a call alone has left the rest
// as it was; looking at it would fetch memory that the call does without.
func (c *Core) check() {
	if c.running < 0 {
		panic("core: more local results than dispatches")
	}
	if c.same {
		return
	}
	c.views.Check()
	c.tree.Check()
	if c.views.Degree() != c.tree.Degree() {
		panic("core: P1: broadcasts do not go over exactly the links of the active view")
	}
}
