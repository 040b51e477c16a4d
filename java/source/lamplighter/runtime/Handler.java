package lamplighter.runtime;

import com.amazonaws.services.lambda.runtime.Context;

/** A function, from the bytes of an event to those of its answer. */
interface Handler {
    byte[] handle(byte[] event, Context context) throws Throwable;
}
