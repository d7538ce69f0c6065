import { X509Certificate } from "node:crypto";
import { quoted } from "../remote/failures.js";

/** Extended key usage TLS client authentication (RFC 5280, section 4.2.1.12), which KMIP servers insist on. */
const CLIENT_AUTHENTICATION = "1.3.6.1.5.5.7.3.2";

/** What messages say of the certificate that a server refuses: whose it is, and what is wrong with it if we see it. */
export interface CertificateFacts {
  readonly commonName: string;
  /** A clause: `it expired on 2026-01-01`. */
  readonly problem?: string;
}

/** Undefined for what is no certificate: TLS says that better. */
export function certificateFacts(pem: Buffer, now: Date): CertificateFacts | undefined {
  try {
    const certificate = new X509Certificate(pem);
    const problem = problemOf(certificate, now);
    return { commonName: commonNameOf(certificate), ...(problem === undefined ? {} : { problem }) };
  } catch {
    return undefined;
  }
}

function commonNameOf({ subject }: X509Certificate): string {
  return quoted(/^CN=(.*)$/m.exec(subject)?.[1] ?? subject);
}

function problemOf(certificate: X509Certificate, now: Date): string | undefined {
  const [from, to] = [new Date(certificate.validFrom), new Date(certificate.validTo)];
  if (now > to) return `it expired on ${day(to)}`;
  if (now < from) return `it is not valid before ${day(from)}`;
  // Node calls the extended key usage so; a certificate without the extension has none
  const usages = certificate.keyUsage as readonly string[] | undefined;
  if (usages?.includes(CLIENT_AUTHENTICATION) === true) return undefined;
  return "it lacks the extended key usage clientAuth";
}

function day(date: Date): string {
  return date.toISOString().slice(0, 10);
}
