package conf

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"

	node "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// Decode reads a YAML document into target, a pointer to a struct whose json tags
// are the keys, and collects what does not fit: repeated and unknown keys, and
// values of the wrong type. What does fit is stored, so that its values are checked
// in the same run.
//
// It walks the document itself because encoding/json stops at the first
// mistake and takes "clientid" for "clientID".
func (c *Check) Decode(data []byte, target any) {
	root := reflect.ValueOf(target).Elem()
	c.document = root.Type()
	if line := secondDocument(data); line > 0 {
		c.addMalformed("", "line %d: a second YAML document begins here; the configuration is one document", line)
		return
	}
	if c.Untrusted {
		if problem := aliasProblem(data); problem != "" {
			c.addMalformed("", "%s", problem)
			return
		}
	}
	text, err := yaml.YAMLToJSONStrict(data)
	if err != nil && c.addRepeatedKeys(err) {
		text, err = yaml.YAMLToJSON(data)
	}
	var document any
	if err == nil {
		err = json.Unmarshal(text, &document)
	}
	if err != nil {
		c.addMalformed("", "%s", syntaxProblem(err))
		return
	}
	for at, value := range c.Pinned {
		document = pin(document, at, value)
	}
	c.tree = document
	setDefaults(root)
	c.decodeValue("", document, root, "")
}

// aliasProblem returns where the first alias of a document is, or why that cannot be
// said. It expands nothing.
func aliasProblem(data []byte) string {
	var document node.Node
	if err := node.Unmarshal(data, &document); err != nil {
		return syntaxProblem(err)
	}
	if line := firstAlias(&document); line > 0 {
		return fmt.Sprintf("line %d: an alias (%q); write out what it stands for", line, "*name")
	}
	return ""
}

// firstAlias returns the line of the first alias in a tree, or 0.
func firstAlias(n *node.Node) int {
	if n.Kind == node.AliasNode {
		return n.Line
	}
	for _, below := range n.Content {
		if line := firstAlias(below); line > 0 {
			return line
		}
	}
	return 0
}

// secondDocument returns the line on which a second document of the stream
// begins, or 0. The YAML library reads the first and silently drops the rest.
// A marker at the start of a line is one even inside a scalar (YAML 1.2, section 9.1.2).
func secondDocument(data []byte) int {
	text := strings.TrimPrefix(string(data), "\ufeff")
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	started, ended := false, false
	number := 0
	for line := range strings.Lines(text) {
		number++
		blank := strings.TrimSpace(line) == "" || strings.HasPrefix(strings.TrimSpace(line), "#")
		switch {
		case ended && !blank, started && isMarker(line, "---"):
			return number
		case isMarker(line, "..."):
			ended = true
		case !blank && !strings.HasPrefix(line, "%"):
			started = true
		}
	}
	return 0
}

func isMarker(line, marker string) bool {
	rest, ok := strings.CutPrefix(line, marker)
	return ok && (rest == "" || strings.ContainsAny(rest[:1], " \t\n"))
}

var repeatedKey = regexp.MustCompile(`(?m)^  line (\d+): key "?(.*?)"? already set in map$`)

// addRepeatedKeys reports every repeated key and whether err is about nothing else.
func (c *Check) addRepeatedKeys(err error) bool {
	list, found := strings.CutPrefix(err.Error(), "yaml: unmarshal errors:\n")
	if !found {
		return false
	}
	for line := range strings.SplitSeq(list, "\n") {
		match := repeatedKey.FindStringSubmatch(line)
		if match == nil {
			return false
		}
		c.Add("", "line %s: %s is set twice in one mapping", match[1], ShowKey(match[2]))
	}
	return true
}

var (
	yamlLine = regexp.MustCompile(`^(?:yaml: )?(line \d+: )?(.*)`)
	// staticProblem matches the messages of the YAML scanner that quote nothing
	// of the document. All others may quote a secret.
	staticProblem = regexp.MustCompile(`^(did not find|could not find|found|mapping values|block (sequence|collection|mapping)|control characters|document contains)\b`)
)

// syntaxProblem says what is wrong with a document that is not YAML.
func syntaxProblem(err error) string {
	parts := yamlLine.FindStringSubmatch(err.Error())
	line, problem := parts[1], parts[2]
	switch {
	case strings.HasPrefix(problem, "unknown anchor"), strings.HasPrefix(problem, "did not find expected alphabetic"):
		problem = `a value that begins with "*" needs quotes`
	case !staticProblem.MatchString(problem):
		problem = "a value cannot be read; text with special characters needs quotes"
	}
	return line + "not valid YAML: " + problem
}

// decodeValue stores value, as encoding/json makes it, in target, and holds it to
// the tags of its field. A null stands for an absent key: it is what remains when
// an operator comments out the content of a section.
func (c *Check) decodeValue(at string, value any, target reflect.Value, tag reflect.StructTag) {
	if value == nil && !strings.HasSuffix(at, "]") {
		return
	}
	if parse, ok := texts[target.Type()]; ok {
		if text, ok := c.text(at, value, tag); ok && text != "" {
			parse(c, at, text, target, tag)
		}
		return
	}
	switch target.Kind() {
	case reflect.Pointer:
		element := reflect.New(target.Type().Elem())
		c.decodeValue(at, value, element.Elem(), tag)
		target.Set(element)
	case reflect.Struct:
		c.decodeSection(at, value, target)
	case reflect.Slice:
		c.decodeList(at, value, target, tag)
	case reflect.Map:
		c.decodeMap(at, value, target)
	case reflect.String:
		if text, ok := c.text(at, value, tag); ok && (text != "" || strings.HasSuffix(at, "]")) {
			target.SetString(text)
			c.checkText(at, text, tag)
		}
	case reflect.Bool:
		on, ok := value.(bool)
		if !ok {
			c.addMalformed(at, "must be true or false, not %s", typeOf(value))
			return
		}
		target.SetBool(on)
	case reflect.Int:
		number, ok := value.(float64)
		if !ok || number != math.Trunc(number) || math.Abs(number) > math.MaxInt32 {
			c.addMalformed(at, "must be a whole number, not %s", numberOf(value))
			return
		}
		target.SetInt(int64(number))
		c.checkNumber(at, number, tag)
	case reflect.Float64:
		number, ok := value.(float64)
		if !ok {
			c.addMalformed(at, "must be a number, not %s", numberOf(value))
			return
		}
		target.SetFloat(number)
		c.checkNumber(at, number, tag)
	default:
		panic("internal error: a section has a field of kind " + target.Kind().String())
	}
}

// text returns what is written at a key whose value is text.
func (c *Check) text(at string, value any, tag reflect.StructTag) (text string, ok bool) {
	text, ok = value.(string)
	if value == false && slices.Contains(strings.Fields(tag.Get("enum")), "off") {
		text, ok = "off", true // which YAML takes for false where it lacks quotes
	}
	_, isNumber := value.(float64)
	switch like := cmp.Or(tag.Get("like"), tag.Get("default")); {
	case isNumber && like != "":
		c.addMalformed(at, "must be text, not a number; put it in quotes, and write it like %q", like)
	case !ok:
		c.addMalformed(at, "must be text, not %s%s", typeOf(value), quoteHint(value))
	case variable.MatchString(text):
		c.addMalformed(at, "holds a variable; write its value (variables are not expanded, here or in the files that this one names)")
		return "", false
	}
	return text, ok
}

// decodeList stores a list. One that is too long is not looked at.
func (c *Check) decodeList(at string, value any, target reflect.Value, tag reflect.StructTag) {
	list, ok := value.([]any)
	if !ok {
		c.addMalformed(at, "must be a list, not %s", typeOf(value))
		return
	}
	if most := tag.Get("max"); most != "" && c.TooMany(at, len(list), number[int](most)) {
		c.silence(at)
		return
	}
	target.Set(reflect.MakeSlice(target.Type(), len(list), len(list)))
	for i, element := range list {
		if one := target.Index(i); one.Kind() == reflect.Struct {
			setDefaults(one)
		}
		c.decodeValue(Element(at, i), element, target.Index(i), "")
	}
	for name := range strings.FieldsSeq(tag.Get("check")) {
		if name == "unique" {
			c.unique(at, list, target)
		} else {
			lists[name](c, at, target.Interface().([]string))
		}
	}
}

// variable matches what a template or a shell should have replaced. Nothing in a
// configuration has this form.
var variable = regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_.:-]*\}|\{\{.*\}\}`)

// decodeSection stores a mapping in the struct target.
func (c *Check) decodeSection(at string, value any, target reflect.Value) {
	section, ok := value.(map[string]any)
	if !ok {
		c.addMalformed(at, "must be a mapping of keys to values, not %s", typeOf(value))
		return
	}
	c.decodeKeys(at, section, target)
	if open, ok := target.Addr().Interface().(Open); ok {
		c.decodeFurther(at, section, open)
	}
	var known []string
	for _, f := range Fields(target.Type()) {
		known = append(known, f.Tag.Get("json"))
	}
	for _, key := range slices.Sorted(maps.Keys(section)) {
		if slices.Contains(known, key) {
			continue
		}
		likely := Nearest(key, known)
		if likely == "" {
			c.Add(Join(at, ShowKey(key)), "unknown key; known are %s", strings.Join(known, ", "))
			continue
		}
		c.Add(Join(at, ShowKey(key)), "unknown key; did you mean %s?", likely)
		if section[likely] == nil {
			c.silence(Join(at, likely)) // not also "is required"
		}
	}
}

// decodeKeys stores what a mapping holds at the keys of a struct, and returns these keys.
func (c *Check) decodeKeys(at string, section map[string]any, target reflect.Value) (keys []string) {
	for _, f := range fields(target.Type()) {
		key := f.Tag.Get("json")
		keys = append(keys, key)
		c.decodeValue(Join(at, key), section[key], target.FieldByIndex(f.Index), f.Tag)
	}
	return keys
}

// decodeFurther stores the further keys of a section.
func (c *Check) decodeFurther(at string, section map[string]any, open Open) {
	own, all := open.Further()
	if own == nil {
		return
	}
	SetDefaults(own)
	known := c.decodeKeys(at, section, reflect.ValueOf(own).Elem())
	for _, f := range further(all) {
		if key := f.Tag.Get("json"); !slices.Contains(known, key) && saysSomething(section[key]) {
			c.Add(Join(at, key), "%s", open.Misplaced())
		}
	}
}

// unique reports entries that stand in a list before.
func (c *Check) unique(at string, list []any, target reflect.Value) {
	seen := make(map[any]bool, len(list))
	for i, entry := range list {
		value := target.Index(i).Interface()
		if text, ok := entry.(string); ok && seen[value] {
			c.Add(Element(at, i), "%s is listed twice", Show(text))
		}
		seen[value] = true
	}
}

// decodeMap stores a mapping with keys of the operator's own.
func (c *Check) decodeMap(at string, value any, target reflect.Value) {
	mapping, ok := value.(map[string]any)
	if !ok {
		c.addMalformed(at, "must be a mapping of names to text, not %s", typeOf(value))
		return
	}
	if len(mapping) == 0 {
		return
	}
	target.Set(reflect.MakeMap(target.Type()))
	for _, key := range slices.Sorted(maps.Keys(mapping)) {
		element := reflect.New(target.Type().Elem()).Elem()
		c.decodeValue(Join(at, ShowKey(key)), mapping[key], element, "")
		target.SetMapIndex(reflect.ValueOf(key), element)
	}
}

// Join appends key to the path at.
func Join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

var plainKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,31}$`)

// ShowKey returns a key for a message. What does not look like a key may be a
// secret that slipped into its place.
func ShowKey(key string) string {
	if plainKey.MatchString(key) {
		return key
	}
	return "(a key that is not a plain word)"
}

// typeOf names the YAML type of a value without showing the value.
func typeOf(value any) string {
	switch value.(type) {
	case nil:
		return "nothing"
	case bool:
		return "true or false"
	case float64:
		return "a number"
	case string:
		return "text"
	case []any:
		return "a list"
	default:
		return "a mapping"
	}
}

// numberOf is typeOf for a place where a whole number should be.
func numberOf(value any) string {
	switch value.(type) {
	case float64:
		return "one with a fraction or that large"
	case string:
		return "text; leave out the quotes"
	}
	return typeOf(value)
}

// quoteHint says how to keep YAML from taking text for something else.
func quoteHint(value any) string {
	switch value.(type) {
	case bool, float64:
		return "; put it in quotes"
	}
	return ""
}

// Nearest returns the known key that was probably meant by key, or "".
func Nearest(key string, known []string) string {
	best, distance := "", 3
	for _, candidate := range known {
		if strings.EqualFold(key, candidate) {
			return candidate
		}
		if len(key) > 40 || len(candidate) < 4 {
			continue
		}
		if d := editDistance(key, candidate); d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

// editDistance is the Levenshtein distance of two short strings.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substituted := diagonal
			if a[i] != b[j] {
				substituted++
			}
			diagonal = row[j+1]
			row[j+1] = min(substituted, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
