/* The envelopes differ between the two protocols in everything but their idea. */
#include "control/shape/answer.h"

#include <stdio.h>

#include "base/buf.h"
#include "control/shape/service.h"
#include "control/shape/shape.h"
#include "control/shape/xml.h"

#define NAME_MAX_LEN 128 /* an element's name: an action's with a suffix */

static void open_with_suffix(struct xml *x, struct view name, const char *suffix)
{
    char element[NAME_MAX_LEN];

    snprintf(element, sizeof element, "%.*s%s", (int)name.n, name.p, suffix);
    xml_open(x, element);
}

void answer_write_result(const struct service *service, const struct service_action *action, const void *result,
                         struct view request_id, struct buf *out)
{
    bool ec2 = service->protocol == SERVICE_EC2;
    struct xml *x = xml_new(out, ec2);

    open_with_suffix(x, action->name, "Response");
    xml_attribute(x, "xmlns", service->name_space);
    if (ec2) {
        xml_element(x, "requestId", request_id);
        if (action->result != NULL)
            xml_write_shape(x, action->result, result);
        else
            xml_element(x, "return", VIEW("true"));
    } else {
        if (action->result != NULL) {
            open_with_suffix(x, action->name, "Result");
            xml_write_shape(x, action->result, result);
            xml_close(x);
        }
        xml_open(x, "ResponseMetadata");
        xml_element(x, "RequestId", request_id);
    }
    xml_free(x);
}

static void write_query_error(struct xml *x, const struct service *service, const struct service_error_code *code,
                              struct view message, struct view request_id)
{
    xml_open(x, "ErrorResponse");
    xml_attribute(x, "xmlns", service->name_space);
    xml_open(x, "Error");
    xml_element(x, "Type", code->status < 500 ? VIEW("Sender") : VIEW("Receiver"));
    xml_element(x, "Code", view_str(code->code));
    xml_element(x, "Message", message);
    xml_close(x);
    xml_element(x, "RequestId", request_id);
}

static void write_ec2_error(struct xml *x, const struct service_error_code *code, struct view message,
                            struct view request_id)
{
    xml_open(x, "Response");
    xml_open(x, "Errors");
    xml_open(x, "Error");
    xml_element(x, "Code", view_str(code->code));
    xml_element(x, "Message", message);
    xml_close(x);
    xml_close(x);
    xml_element(x, "RequestID", request_id);
}

int answer_write_error(const struct service *service, int error, struct view message, struct view request_id,
                       struct buf *out)
{
    const struct service_error_code *code = service_error(service, error);
    bool ec2 = service->protocol == SERVICE_EC2;
    struct xml *x = xml_new(out, ec2);

    if (ec2)
        write_ec2_error(x, code, message, request_id);
    else
        write_query_error(x, service, code, message, request_id);
    xml_free(x);
    return code->status;
}
