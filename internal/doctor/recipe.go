package doctor

import (
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/docs/gateways"
)

// The recipes have the same headings in the same order, so that a fault can be
// answered with one section.

// Gateways lists the names of the recipes.
func Gateways() []string { return gateways.Names() }

// Recipe returns the recipe of a gateway.
func Recipe(gateway string) (string, bool) { return gateways.Page(gateway) }

// Section returns one section of a recipe, without its heading.
func Section(gateway string, topic Topic) string { return gateways.Section(gateway, string(topic)) }

// guess returns the gateway that a Server header reveals, "" for none.
func guess(server string) string {
	name, _, _ := strings.Cut(strings.ToLower(server), "/")
	switch name {
	case "nginx", "caddy", "envoy", "apisix":
		return name
	case "istio-envoy":
		return "istio"
	}
	return ""
}
