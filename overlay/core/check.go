package core

// check asserts, after every step, what must always hold. It costs
// nanoseconds, so production runs it too: a node that has lost its mind must
// end rather than speak.
func (c *Core) check() {
	c.views.Check()
	c.tree.Check()
	if c.running < 0 {
		panic("core: more local results than dispatches")
	}
}
