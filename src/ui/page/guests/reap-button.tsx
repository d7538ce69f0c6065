import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";

export function ReapButton({ onOpen }: { readonly onOpen: () => void }) {
  return (
    <Button variant="secondary" onClick={onOpen}>
      Clean up leftovers…
    </Button>
  );
}
