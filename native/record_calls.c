/* One call at a time: receive it, count it, let it go on. */
#include "record.h"

#include <string.h>

#include "sys.h"

enum {
	NO_ENTRY = -2, INTERRUPTED = -4, PROT_EXEC = 4,
	/* A look costs some 100 us: this often it is 100 ns a call. */
	USES_PER_LOOK = 1024,
	/* How long to distrust a process in which a thread calls exec. */
	DOUBTS = 256,
};

/* Returns an event, or 0 when there is a call to receive. */
static int await_call(struct recorder *recorder)
{
	enum { LISTENER, SIGNALS, TIMER, PROGRAM, FILES };
	struct pollfd polled[FILES] = {
		[LISTENER] = { recorder->keeper.listener, POLLIN, 0 },
		[SIGNALS] = { recorder->signals, POLLIN, 0 },
		[TIMER] = { recorder->timer, POLLIN, 0 },
		[PROGRAM] = { recorder->awaited, POLLIN, 0 },
	};
	uint64_t expirations;
	long ready;

	do
		ready = sys_ppoll(polled, FILES, NULL);
	while (ready == INTERRUPTED);
	if (ready < 0)
		return record_failed(recorder, "await-call", ready);
	if (polled[SIGNALS].revents != 0)
		return RECORD_SIGNAL;
	if (polled[TIMER].revents != 0 &&
	    sys_read(recorder->timer, &expirations, sizeof(expirations)) > 0)
		return RECORD_TIMER;
	if (polled[LISTENER].revents & POLLIN)
		return 0;
	if (polled[PROGRAM].revents != 0) {
		recorder->awaited = -1;
		return RECORD_PROGRAM;
	}
	return RECORD_END;
}

static long receive(struct recorder *recorder)
{
	union {		/* a newer kernel may write more than we know */
		struct uapi_seccomp_notif notification;
		uint8_t room[512];
	} request;
	long error;

	memset(&request, 0, sizeof(request));
	error = sys_ioctl(recorder->keeper.listener,
			  UAPI_SECCOMP_IOCTL_NOTIF_RECV, &request);
	if (error == NO_ENTRY)
		recorder->unseen++;
	if (error < 0)
		return error == NO_ENTRY || error == INTERRUPTED ? 0 : error;
	recorder->call = request.notification;
	recorder->thread = (int32_t)request.notification.pid;
	recorder->address = request.notification.data.instruction_pointer;
	recorder->pending = 1;
	return 0;
}

static long let_go_on(struct recorder *recorder)
{
	union {
		struct uapi_seccomp_notif_resp response;
		uint8_t room[512];
	} answer;
	long error;

	memset(&answer, 0, sizeof(answer));
	answer.response.id = recorder->call.id;
	answer.response.flags = UAPI_SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	error = sys_ioctl(recorder->keeper.listener,
			  UAPI_SECCOMP_IOCTL_NOTIF_SEND, &answer);
	recorder->pending = 0;
	recorder->calls++;
	return error == NO_ENTRY ? 0 : error; /* it was killed meanwhile */
}

/* The program's exec, and if that failed the exit after it, are ours. */
static int is_our_own(struct recorder *recorder)
{
	if (recorder->started)
		return 0;
	if (recorder->calls == 0 || recorder->keeper.step != NULL)
		return 1;
	recorder->started = 1;
	return 0;
}

static int must_look(const struct recorder *recorder,
		     const struct record_thread *thread)
{
	return thread->tid != recorder->thread ||
	       thread->epoch != recorder->epoch ||
	       thread->uses >= (thread->doubt ? 1 : USES_PER_LOOK);
}

static struct record_site *place(struct recorder *recorder, uint64_t space)
{
	uint64_t hash = (recorder->address ^ space) *
			UINT64_C(0x9e3779b97f4a7c15);

	return &recorder->sites[(hash >> 32) % RECORD_SITES];
}

/*
 * Where a thread that does not lead its process calls exec, the new program
 * goes on under the leader's number, at a moment that nobody tells us.
 */
static void expect_exec(struct recorder *recorder,
			const struct record_thread *thread)
{
	uint32_t slot = (uint32_t)thread->leader % RECORD_THREADS;

	recorder->epoch++;
	if (thread->leader != thread->tid &&
	    recorder->threads[slot].tid == thread->leader)
		recorder->threads[slot].doubt = DOUBTS;
}

/* Returns 0 once the call in hand is counted, or what must be known first. */
static int count(struct recorder *recorder)
{
	const struct uapi_seccomp_data *call = &recorder->call.data;
	uint32_t slot = (uint32_t)recorder->thread % RECORD_THREADS;
	struct record_thread *thread = &recorder->threads[slot];
	uint32_t attention = RECORD_EXECS; /* of another architecture */
	uint32_t site = thread->site;

	recorder->slot = slot;
	if (must_look(recorder, thread))
		return RECORD_THREAD;
	if (site == 0) {
		const struct record_site *known = place(recorder, thread->space);

		if (known->site == 0 || known->space != thread->space ||
		    known->address != recorder->address)
			return RECORD_SITE;
		site = known->site;
	}
	if (call->arch == ARCH_AUDIT)
		attention = call->nr >= 0 && call->nr < TALLY_NUMBERS ?
			    recorder->attention[call->nr] : 0;
	tally_add(&recorder->tally, site, call,
		  thread->site == 0 ? attention & 0x3f : 0, recorder->thread);
	thread->uses++;
	if (attention & RECORD_EXECS)
		expect_exec(recorder, thread);
	else if (attention & RECORD_MAPS && call->args[2] & PROT_EXEC)
		recorder->epoch++;
	return 0;
}

int record_serve(struct recorder *recorder)
{
	for (;;) {
		int event;
		long error = 0;

		if (!recorder->pending) {
			event = await_call(recorder);
			if (event != 0)
				return event;
			error = receive(recorder);
			if (error < 0)
				return record_failed(recorder, "receive-call", error);
			if (!recorder->pending)
				continue;
		}
		if (!is_our_own(recorder)) {
			event = count(recorder);
			if (event != 0)
				return event;
		}
		error = let_go_on(recorder);
		if (error < 0)
			return record_failed(recorder, "let-call-go-on", error);
	}
}

/*
 * Does the thread in hand still wait in its call?  If so, nothing that was read
 * about it meanwhile is of what comes after it: only its death ends the wait.
 */
static int still_waits(struct recorder *recorder)
{
	if (sys_ioctl(recorder->keeper.listener,
		      UAPI_SECCOMP_IOCTL_NOTIF_ID_VALID,
		      &recorder->call.id) >= 0)
		return 1;
	recorder->threads[recorder->slot].tid = 0;
	recorder->pending = 0;
	recorder->unseen++;
	return 0;
}

void record_thread(struct recorder *recorder, int32_t leader, uint64_t space,
		   uint32_t site)
{
	struct record_thread *thread = &recorder->threads[recorder->slot];
	uint32_t doubt = 0;

	if (!still_waits(recorder))
		return;
	/* A successful exec changes what is mapped where. */
	if (thread->tid == recorder->thread && thread->doubt > 0 &&
	    thread->space == space)
		doubt = thread->doubt - 1;
	*thread = (struct record_thread){
		.space = space, .epoch = recorder->epoch,
		.tid = recorder->thread, .leader = leader, .site = site,
		.doubt = doubt,
	};
}

void record_site(struct recorder *recorder, uint32_t site)
{
	uint64_t space = recorder->threads[recorder->slot].space;

	if (!still_waits(recorder))
		return;
	*place(recorder, space) = (struct record_site){
		.space = space, .address = recorder->address, .site = site,
	};
}
