package relay

// For tests that look at what a server got.
var (
	KeptFromServer      = keptFromServer
	KeptFromServerBelow = keptFromServerBelow
)

// Flat is what is left of a name where a server makes a variable of it.
func Flat(name string) string { return flat(name) }
