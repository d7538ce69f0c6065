import { Alert } from "@patternfly/react-core/dist/esm/components/Alert/index.js";
import type { ReactNode } from "react";

interface NoticeProps {
  readonly tone: "success" | "info" | "warning" | "danger";
  readonly title: string;
  readonly children?: ReactNode;
}

/** Something to know, where the reader is. Whoever shows it sees to it that it is announced. */
export function Notice({ tone, title, children }: NoticeProps) {
  return (
    <Alert isInline variant={tone} title={title} component="p">
      {children}
    </Alert>
  );
}
