package pass

import (
	"regexp"
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// madeUp matches names that exporters give to what has none in the program: numbered values, results of constant folding.
var madeUp = regexp.MustCompile(`^onnx::|^\d+$|^val_\d+$|_output_\d+|const_fold|ConstantFolding|^[Cc]onst`)

// MadeUp reports whether an exporter made the name up.
func MadeUp(name string) bool { return madeUp.MatchString(name) }

// ModulePath reads the path of modules in a node's scope and name: "/b/b.0/t/t.0/MatMul" is b.0.t.0, for a container and its
// item are named both. It is "" where the node has none.
func ModulePath(n *graph.Node) string {
	label := n.Name
	if n.Scope != "" {
		label = n.Scope + "/" + label
	}
	parts := strings.Split(strings.Trim(label, "/"), "/")
	if n.Scope != "" && n.Name == "" {
		parts = append(parts, "")
	}
	if len(parts) < 2 {
		return ""
	}
	parts = parts[:len(parts)-1]
	var keep []string
	for i, p := range parts {
		if p == "" || i+1 < len(parts) && strings.HasPrefix(parts[i+1], p+".") {
			continue
		}
		keep = append(keep, p)
	}
	return strings.Join(keep, ".")
}
