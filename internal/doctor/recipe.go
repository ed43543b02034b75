package doctor

import (
	"embed"
	"slices"
	"strings"
)

// The recipes are Markdown files, one for each gateway, with the same headings
// in the same order, so that a fault can be answered with one section.
//
//go:embed recipes/*.md
var recipes embed.FS

// Gateways lists the names of the recipes.
func Gateways() []string {
	entries, err := recipes.ReadDir("recipes")
	if err != nil {
		panic("internal error: recipes are not embedded: " + err.Error())
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".md"))
	}
	slices.Sort(names)
	return names
}

// Recipe returns the recipe of a gateway.
func Recipe(gateway string) (string, bool) {
	if !slices.Contains(Gateways(), gateway) {
		return "", false
	}
	text, err := recipes.ReadFile("recipes/" + gateway + ".md")
	return string(text), err == nil
}

// Section returns one section of a recipe, without its heading.
func Section(gateway string, topic Topic) string {
	text, _ := Recipe(gateway)
	_, rest, found := strings.Cut(text, "\n## "+string(topic)+"\n")
	if !found {
		return ""
	}
	section, _, _ := strings.Cut(rest, "\n## ")
	return strings.TrimSpace(section)
}

// guess names the gateway that a Server header gives away, "" if it does not.
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
