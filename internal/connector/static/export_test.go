package static

// Queue is how many may wait for each slot.
const Queue = queue

// ParseArgon2id takes a hash apart.
var ParseArgon2id = parseArgon2id

// Occupy takes all slots of c until free is called.
func Occupy(c *Connector) (free func()) {
	for range cap(c.slots) {
		c.slots <- struct{}{}
	}
	return func() {
		for range cap(c.slots) {
			<-c.slots
		}
	}
}

// Waiting is how many wait for a slot of c.
func Waiting(c *Connector) int64 { return c.waiting.Load() }
